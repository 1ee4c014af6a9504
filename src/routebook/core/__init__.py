"""The words of the field as types. This room imports nothing of ours and does no IO."""
