"""Lets `dvc plots show` and `dvc plots diff` write pages that need no network: python -m scripts.plots_page, once.

DVC's page loads Vega from a server. Here its template gets Vega inlined, from the package vl-convert, and DVC is told
of it in .dvc/config.local (`make setup` does it).
"""

from pathlib import Path

from dvc.config import Config

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
FILE = "tmp/plots.html"  # below .dvc


def main(folder: str = ".") -> None:
    page = Path(folder, ".dvc", FILE)
    if page.exists():
        return
    import vl_convert

    page.parent.mkdir(exist_ok=True)
    vega = vl_convert.javascript_bundle().replace("</script", "<\\/script")
    page.write_text(PAGE.replace("VEGA", vega), encoding="utf-8")
    with Config(Path(folder, ".dvc")).edit("local") as config:
        config["plots"]["html_template"] = FILE


if __name__ == "__main__":
    main()
