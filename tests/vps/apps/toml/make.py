import pathlib

pathlib.Path("site").mkdir()
pathlib.Path("site/index.html").write_text("<p>Made by hostkit.toml</p>\n")
