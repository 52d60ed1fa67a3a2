"""What every room uses: files that are whole or not there, tables, names, sums over processes."""
