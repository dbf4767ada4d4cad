"""`python -m tsugiki` is the same as the `tsugiki` command."""

from tsugiki.cli.main import run

if __name__ == "__main__":
    run()
