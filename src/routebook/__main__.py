"""`routebook`, also as `python -m routebook`: the entry point, which is there before anything heavy is."""

import signal


def run() -> None:
    """The program; always ends in SystemExit. Ctrl-C while it is still being loaded ends it without a word."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if usual:  # a shell's `&` may have it ignored, and that stays
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from routebook.cli.main import main

    if usual:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main()


if __name__ == "__main__":
    run()
