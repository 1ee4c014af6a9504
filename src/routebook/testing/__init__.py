"""The public test kit: scripted upstream, playbook, frozen clock."""
