"""Compiles the .proto files of this package."""

import sys

from serving.protos import HERE, SOURCES


def main(out: str = str(HERE / "messages.binpb")) -> int:
    """Runs protoc; its exit code."""
    from grpc_tools import protoc

    where = [f"-I{HERE}", "--include_imports", f"--descriptor_set_out={out}"]
    # The well-known types come with the compiler.
    known = f"-I{protoc.__file__.rpartition('/')[0]}/_proto"
    return protoc.main(["protoc", *where, known, *SOURCES])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
