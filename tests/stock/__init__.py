"""What is documented for stock systems, done on them: bare Debian 12 and 13 in a folder, by debootstrap (`make stock`).

Needs root, debootstrap and a mirror of Debian; the bare systems are kept in `.stock/` (not in git). In `make test` both
have README's two commands, and one has `make ipk`; `STOCK=all` has all on each.
"""
