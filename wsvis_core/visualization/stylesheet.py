"""The report's stylesheet: a printed page for numbers, a black contact sheet for pictures."""

from __future__ import annotations

import re

COLOURS = """
:root{color-scheme:light dark;
--paper:#f5f6f7;--ink:#14181c;--muted:#545d66;--rule:#d2d8dd;--faint:#e6eaed;--accent:#1f3fb5;
--film:#0c0d0f;--film-rule:#26292d;--film-text:#e3e6e8;--film-muted:#a2a9b0;--edge:#f2ac36;
--series-1:#1f3fb5;--series-2:#bf4310;--series-3:#0d7566;--series-4:#8530ab;
--series-5:#7d6400;--series-6:#b8185a;--series-7:#0c6d88;--series-8:#545d66;
--text:Charter,"Bitstream Charter","Sitka Text",Cambria,"Liberation Serif",serif;
--mono:ui-monospace,"SF Mono","Cascadia Mono",Menlo,Consolas,"Liberation Mono",monospace;
--gutter:clamp(1rem,4vw,3.5rem)}
@media(prefers-color-scheme:dark){:root{
--paper:#15181b;--ink:#e6e9eb;--muted:#9fa8b0;--rule:#31373d;--faint:#23282d;--accent:#93aeff;
--film:#060708;--film-rule:#202327;
--series-1:#93aeff;--series-2:#ff9d6b;--series-3:#4fcfb4;--series-4:#d69cff;
--series-5:#dfc052;--series-6:#ff8fbd;--series-7:#62cfec;--series-8:#aab3bb}}
"""

TYPE = """
*{box-sizing:border-box}
html{scroll-padding-top:3.5rem}
body{margin:0;background:var(--paper);color:var(--ink);font:1.0625rem/1.5 var(--text);
font-variant-numeric:tabular-nums lining-nums}
h1,h2,h3,p,dl,dd,ul,figure,fieldset{margin:0;padding:0}
h1{font-size:clamp(1.9rem,4.5vw,3.1rem);line-height:1.1;font-weight:400;letter-spacing:-.015em;
max-width:28ch;
text-wrap:balance}
h2{font-size:1.7rem;font-weight:400;letter-spacing:-.01em;margin-bottom:1.5rem}
h3{font-size:1.0625rem;font-weight:700}
a{color:var(--accent)}
:focus-visible{outline:2px solid var(--accent);outline-offset:3px}
.note,.empty,.facts,caption,figcaption,nav,thead th,.switches,.dots{font:.78rem/1.45 var(--mono)}
.note,.empty,.facts dt{color:var(--muted)}
.empty{padding:.6rem 0}
.sr{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.top,main>section{padding:0 var(--gutter);max-width:96rem;margin:0 auto}
.top{padding-top:clamp(2rem,5vw,4rem)}
main>section{padding-top:3rem;padding-bottom:1.5rem}
.facts{display:flex;flex-wrap:wrap;gap:.25rem 1.75rem;margin-top:1.1rem}
.facts div{display:flex;gap:.6ch}
nav{position:sticky;top:0;z-index:3;display:flex;gap:1.5rem;margin-top:2.5rem;padding:.8rem var(--gutter);
background:var(--paper);border-bottom:1px solid var(--rule);overflow-x:auto}
nav a{color:inherit;text-decoration:none;white-space:nowrap}
nav a:hover{color:var(--accent);text-decoration:underline;text-underline-offset:.35em}
"""

FIGURES = """
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(11.5rem,1fr));gap:2rem 2.25rem;
margin-top:2.75rem}
.card h3{font:.78rem/1.4 var(--mono);border-top:2px solid var(--ink);padding-top:.6rem}
.card strong{display:block;font-size:3.4rem;line-height:1.15;font-weight:400;letter-spacing:-.03em}
.card .none{color:var(--muted)}
.card .bar{margin:.25rem 0 .5rem}
.bar{display:block;height:3px;
background:
linear-gradient(var(--accent),var(--accent)) no-repeat 0/calc(var(--share)*100%) 100%,var(--faint)}
.tables{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:2.5rem 3.5rem;
align-items:start}
.scroll{overflow-x:auto;position:relative}
table{border-collapse:collapse;width:100%}
caption{text-align:left;padding-bottom:.5rem;color:var(--ink)}
.metrics th,.metrics td{padding:.4rem 0 .4rem .85rem;text-align:right;border-bottom:1px solid var(--rule);
white-space:nowrap;vertical-align:top}
.metrics th:first-child{text-align:left;padding-left:0;font-weight:400}
.metrics thead th{color:var(--muted);font-weight:400;border-bottom-color:var(--ink)}
.metrics thead th{white-space:normal;vertical-align:bottom}
.metrics .bar{height:2px;margin:.2rem 0 0 auto;width:3rem}
.costs .bar{width:6rem}
.costs tbody tr:last-child>*{border-bottom:0;font-weight:700}
.costs tbody tr:last-child .bar{display:none}
.stage{margin-bottom:2.5rem}
.stage header{display:flex;gap:1rem;align-items:baseline;border-top:1px solid var(--rule);padding-top:.6rem;
margin-bottom:.75rem}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr));gap:1.75rem 2.5rem}
.chart figcaption{color:var(--muted);margin-bottom:.3rem}
.chart svg{display:block;width:100%;height:auto;overflow:visible}
.chart svg text{font-family:var(--mono)!important}
.error{color:var(--muted)}
.result{margin-top:2rem}
.result .charts,#pseudo-labels .stage{margin-top:2rem}
.dots{display:flex;flex-wrap:wrap;gap:.1rem .9rem;list-style:none}
.dots li::before{content:"";display:inline-block;width:.6em;height:.6em;border-radius:50%;
background:var(--dot,transparent);
margin-right:.5ch}
.dots li:not([style])::before{display:none}
.chart .dots{margin-top:.5rem}
.chart b{font-weight:400;color:var(--muted)}
.chart figcaption b{color:var(--ink);margin-left:1ch}
details{margin-top:2rem;border-top:1px solid var(--rule);padding-top:.75rem}
summary{cursor:pointer;font-weight:700}
pre{font:.78rem/1.5 var(--mono);overflow-x:auto;columns:26rem auto;column-gap:3.5rem}
"""

SHEETS = """
#videos{--head:8.5rem;
--cell:clamp(11rem,(min(100vw,96rem) - 2*var(--gutter) - var(--head) - 1rem)/5,17rem)}
.switches{display:flex;flex-wrap:wrap;gap:.75rem 2.5rem;margin-bottom:1.25rem}
.switches fieldset{border:0;display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;align-items:baseline}
.switches legend{float:left;color:var(--muted);padding:0 .4rem 0 0}
.switches input{accent-color:var(--accent);vertical-align:-.15em}
.switches label{cursor:pointer}
.sheet{background:var(--film);color:var(--film-text);border-radius:3px;padding:1.1rem 0 1rem;
margin-bottom:1.75rem}
.sheet header{display:flex;flex-wrap:wrap;gap:.1rem 1.25rem;align-items:baseline;padding:0 1.25rem .8rem}
.sheet .note,.sheet .empty{color:var(--film-muted)}
.sheet>.empty{padding:.75rem 1.25rem 0}
.strip{width:auto}
.strip th,.strip td{vertical-align:top;padding:0 .4rem .4rem 0}
.strip tbody th{position:sticky;left:0;z-index:1;width:var(--head);min-width:var(--head);
background:var(--film);
padding:.35rem .75rem .35rem 1.25rem;text-align:left;font:700 .82rem/1.3 var(--mono)}
.strip th .note{display:block;margin-top:.2rem;font-weight:400;font-size:.72rem}
.strip th .dots{flex-direction:column;font-weight:400;font-size:.72rem;margin-top:.2rem}
.strip td{width:var(--cell);min-width:var(--cell)}
.strip td img{display:block;width:100%;height:auto;background:#000}
.strip td .dots,.strip td>.note{font-size:.72rem;padding:.25rem 0 .2rem}
.strip td>.note{display:block}
.wheel{display:block;border-radius:50%;margin-top:.5rem}
.strip thead th{font-weight:400;text-align:left;padding-bottom:.3rem}
.strip thead th:first-child{position:sticky;left:0;z-index:1;background:var(--film);padding-left:1.25rem}
.edge{color:var(--edge);font-size:.72rem;letter-spacing:.08em}
.blank span{display:grid;place-items:center;min-height:6rem;color:var(--film-muted);font:.72rem var(--mono);
border:1px dashed var(--film-rule)}
.strip td.hollow{color:var(--film-muted);font:.78rem/1.45 var(--mono);padding-top:.35rem}
.layer-labels img{image-rendering:pixelated}
.presence td{vertical-align:middle;padding-block:.15rem}
.presence th{padding-block:.15rem!important}
.presence tr:first-child>*{padding-top:.7rem!important}
.presence .dots{margin:0!important}
.presence i{display:block;height:6px;border-radius:3px;background:var(--dot)}
.presence i.off{background:none;height:0;border-top:1px dotted var(--film-muted);border-radius:0}
main:has(#size-small:checked) #videos{--cell:10rem}
main:has(#size-large:checked) #videos{--cell:23rem}
#transfers{--head:9rem;
--cell:clamp(8.5rem,(min(100vw,96rem) - 2*var(--gutter) - var(--head) - 1rem)/7,13rem)}
#transfers>.note{max-width:62rem;margin-bottom:1.75rem}
.galleries{--cell:clamp(9.5rem,20vw,16rem);margin-top:3rem}
.galleries>.note{margin-bottom:.75rem}
.gallery{display:grid;gap:1.1rem 1.5rem;padding:0 1.25rem;
grid-template-columns:repeat(auto-fill,minmax(min(100%,calc(var(--cell)*var(--views,2))),1fr))}
.gallery figure>div{display:grid;grid-template-columns:repeat(var(--views),1fr);gap:.4rem}
.gallery figcaption{padding-bottom:.25rem}
.gallery img{display:block;width:100%;height:auto;background:#000}
.gallery .dots,.gallery .note{font-size:.72rem;padding-top:.25rem}
.gallery .edge{font-family:var(--mono)}
@media(max-width:40rem){
.gallery{padding:0 .8rem}
#videos{--cell:9.5rem;--head:6.2rem}
main:has(#size-small:checked) #videos{--cell:7.5rem}
main:has(#size-large:checked) #videos{--cell:15rem}
.sheet{margin-inline:calc(var(--gutter)*-1);border-radius:0}
.strip tbody th{padding-left:.8rem;padding-right:.5rem;font-size:.74rem}
.strip thead th:first-child,.sheet header{padding-left:.8rem}
.card strong{font-size:2.6rem}
.cards{grid-template-columns:1fr 1fr;gap:1.5rem 1.25rem}
}
@media print{nav,.switches{display:none}.sheet{break-inside:avoid;print-color-adjust:exact}}
"""


def layer_switches(keys: list[str]) -> str:
    """Rules that hide a layer's rows while its checkbox `#layer-<key>` is off."""
    return "".join(f"main:has(#layer-{key}:not(:checked)) .layer-{key}{{display:none}}\n" for key in keys)


def light_colours() -> dict[str, str]:
    """The page's colours by daylight: CSS variable → #rrggbb."""
    daylight = COLOURS[: COLOURS.index("@media")]
    return dict(re.findall(r"(--[\w-]+):(#\w+)", daylight))
