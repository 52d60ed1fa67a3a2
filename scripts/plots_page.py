"""Lets `dvc plots show` and `dvc plots diff` write pages that need no network: python -m scripts.plots_page, once.

DVC's page loads Vega from a server. Here its template gets Vega inlined, from the package vl-convert, and DVC is told
of it in .dvc/config.local (`make setup` does it).
"""

from pathlib import Path

from hrrl.common.files import replacing
from scripts.cells import dvc

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh_tag}
<title>Plots</title>
<style>
body { font-family: sans-serif; margin: 1rem; }
body > div.vega-embed { display: block; width: fit-content; max-width: 100%; margin-bottom: 2rem; overflow-x: auto; }
</style>
<script>(function () {VEGA})();</script>
</head>
<body>
{plot_divs}
</body>
</html>
"""
FILE = Path(".work/plots.html")


def main() -> None:
    if FILE.exists():
        return
    import vl_convert

    dvc("config", "--local", "plots.html_template", f"../{FILE}")  # relative to .dvc
    vega = vl_convert.javascript_bundle().replace("</script", "<\\/script")
    with replacing(FILE) as file:  # the last, by which the next call knows that there is nothing to do
        file.write_text(PAGE.replace("VEGA", vega), encoding="utf-8")


if __name__ == "__main__":
    main()
