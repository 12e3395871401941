"""How the page of a bill looks, on a screen and on paper.

No colour carries a meaning, so that it reads the same in black and white. The page takes the size
of the printer's paper (A4, Letter) unless one is asked for; rows are never cut by a page's end, and
the head of the table is repeated on every page.
"""

from typing import Final

SIZE: Final = "@page{size:%s}\n"
"""A fixed size of the page, by its CSS name."""

STYLE: Final = """\
@page{margin:18mm 16mm 20mm;@bottom-right{content:"Page " counter(page) " of " counter(pages);\
font:9pt system-ui,sans-serif;color:#444}}
*{box-sizing:border-box}
html{font:10pt/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;\
color:#111;background:#fff}
body{max-width:178mm;margin:12mm auto;padding:0 4mm}
h1{font-size:22pt;font-weight:600;margin:0}
h2{font-size:11pt;font-weight:600;margin:0 0 1mm}
p{margin:0 0 1.5mm}
address{font-style:normal}
header,.parties{display:flex;justify-content:space-between;gap:10mm}
header{border-bottom:1.5pt solid #111;padding-bottom:4mm;margin-bottom:6mm;align-items:flex-end}
.number{font-size:12pt}
.parties{margin-bottom:7mm}
.parties>*{flex:1;min-width:0;overflow-wrap:anywhere}
.parties>:last-child{flex:1.4}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.6mm 4mm;margin:0}
dt{color:#444}
dd{margin:0}
table{width:100%;border-collapse:collapse;margin:0 0 6mm;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding-bottom:1.5mm}
th,td{padding:1.5mm 2mm;vertical-align:top;text-align:left}
thead th{border-bottom:1pt solid #111;font-size:9pt;color:#444}
tbody td,tbody th{border-bottom:.5pt solid #bbb;font-weight:400}
tbody th.section{font-weight:600;padding-top:4mm;border-bottom:.75pt solid #111}
tfoot td,tfoot th{font-weight:600;border:0}
tfoot tr:first-child>*{border-top:1.5pt solid #111}
.figure{text-align:right;white-space:nowrap}
.what{overflow-wrap:anywhere;width:36%}
.price{width:25%}
.about{display:block;color:#444;font-size:8.5pt}
.line{color:#444;font-size:9pt;width:8mm}
footer{border-top:.5pt solid #bbb;padding-top:3mm;font-size:9pt;color:#444}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:8.5pt;\
overflow-wrap:anywhere}
section{margin-bottom:5mm}
thead{display:table-header-group}
tfoot{display:table-row-group}
tr,footer,section{break-inside:avoid}
tr.heading{break-after:avoid}
h2{break-after:avoid}
@media print{body{max-width:none;margin:0;padding:0}}
"""
"""The whole style. It names no font or picture that would have to be fetched."""
