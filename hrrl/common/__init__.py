"""What every room uses: files that are written atomically, tables, names, sums over processes."""
