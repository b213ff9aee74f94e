"""Builds what a release uploads, and checks it: `tools/build_wheels.py` is the command.

- `toolbox`: the programs that build and check, in an environment of their own, and how they are run
- `debian`: folders with Debian's packages, for tools of the compiler and processors that this machine lacks
- `finish`: debug information moved from an extension into a file of its own, and other last touches
- `training`: the profile that the native wheels of this processor are built with
- `native`: wheels with the extension
- `pure`: wheels for macOS and Windows
- `source`: the source distribution
- `checks`: what must hold of a wheel before it is uploaded
- `targets`: builds for other targets
- `foreign`: wheels for aarch64, and the behaviour tests on them
- `musl`: wheels for musl, such as Alpine's, and the behaviour tests on them

Everything ends up in `target/wheels/`, debug information in `target/wheels/debug/`.
"""
