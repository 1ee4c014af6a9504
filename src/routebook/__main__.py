"""`python -m routebook` is `routebook`."""

from routebook.cli.main import main

if __name__ == "__main__":
    main()
