"""The reports' style sheet."""

CSS = """
:root{color-scheme:light dark;--bg:#f5f7fa;--card:#fff;--ink:#1c2430;--muted:#525e6e;--line:#dde2e9;--good:#15713a;--bad:#b42318;--warn:#8a5300;--on:#fff;--link:#1d4ed8;
--c1:#2563eb;--c2:#ea7317;--c3:#0f9d8a;--c4:#9333ea;--c5:#64748b}
@media(prefers-color-scheme:dark){:root{--bg:#12161d;--card:#1a2029;--ink:#e4e9f1;--muted:#a5b0c1;--line:#2c3542;--good:#57cf85;--bad:#ff8f86;--on:#0d1218;--link:#8ab4ff;
--warn:#ecb552;--c1:#6c9bff;--c2:#ff9c4a;--c3:#3fcfba;--c4:#c084fc;--c5:#94a3b8}}
a{color:var(--link)}:focus-visible{outline:3px solid var(--link);outline-offset:2px}abbr{text-decoration:underline dotted;text-underline-offset:3px;cursor:help}
.findings ul{list-style:none;margin:0;padding:0}.findings li{padding:5px 0 5px 14px;border-left:4px solid var(--line);margin:4px 0;overflow-wrap:anywhere}
.findings li.ok{border-color:var(--good)}.findings li.no{border-color:var(--bad)}.findings li.maybe{border-color:var(--warn)}
.words dl{display:grid;grid-template-columns:minmax(120px,max-content) 1fr;gap:3px 16px;font-size:13px;margin:0}.words dt{font-weight:600}.words dd{margin:0;color:var(--muted)}
*{box-sizing:border-box}body{margin:0;overflow-wrap:break-word;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}h1{font-size:26px;margin:0;letter-spacing:-.01em}
h2{font-size:18px;margin:0 0 12px;display:flex;gap:10px;align-items:center}h3{font-size:14px;margin:18px 0 6px;color:var(--muted);font-weight:600}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:20px 22px;margin:16px 0}
header{display:flex;flex-wrap:wrap;gap:8px 14px;align-items:center;margin-bottom:14px}.sub{color:var(--muted);width:100%}
.badge{display:inline-block;border-radius:99px;padding:2px 12px;font-size:13px;font-weight:650;color:var(--on);background:var(--muted)}
.pass,.promoted{background:var(--good)}.refuse,.refused,.failed,.rolled_back{background:var(--bad)}.inconclusive,.warn{background:var(--warn)}
.steps{display:grid;grid-template-columns:repeat(auto-fit,minmax(118px,1fr));gap:8px;margin:16px 0}
.step{background:var(--card);border:1px solid var(--line);border-top:4px solid var(--line);border-radius:8px;padding:8px 10px;font-size:13px;color:inherit;text-decoration:none}
.step b{display:block;font-size:13px}.step span{color:var(--muted)}.step.ok{border-top-color:var(--good)}.step.no{border-top-color:var(--bad)}
.step.maybe{border-top-color:var(--warn)}.step.skip{border-top-style:dashed}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:10px;margin:16px 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px}.tile b{font-size:23px;display:block;letter-spacing:-.02em;line-height:1.25}
.tile span{color:var(--muted);font-size:13px;display:block}.reasons{margin:0 0 12px;padding-left:20px}
table{border-collapse:collapse;width:100%;font-size:13.5px}th{text-align:left;color:var(--muted);font-weight:600;border-bottom:1px solid var(--line);padding:4px 10px 4px 0}
td{border-bottom:1px solid var(--line);padding:5px 10px 5px 0;vertical-align:top}td.t{min-width:16em}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;max-height:640px;overflow-y:auto}.highlights{display:flex;flex-wrap:wrap;gap:14px;align-items:flex-end}.highlights figure{margin:0;max-width:420px}.grid2{display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:18px;align-items:start}
svg{width:100%;height:auto;display:block;overflow:visible}svg text{font-size:10.5px;fill:var(--muted)}svg .label{font-size:11.5px;fill:var(--ink)}
svg .grid{stroke:var(--line)}svg .axis{stroke:var(--muted)}figure{margin:6px 0}
.legend{display:flex;flex-wrap:wrap;gap:4px 14px;font-size:12.5px;color:var(--muted);margin-top:4px}.legend i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:5px}
figcaption{font-size:13px;color:var(--muted);margin-bottom:4px}.legend i.dash{height:0;border-radius:0;border-top:2px dashed var(--muted);vertical-align:middle}.legend i.dot{border-radius:50%;background:var(--bad)}
.hbar{display:grid;grid-template-columns:minmax(80px,34%) 1fr auto;gap:8px;align-items:center;font-size:13px;margin:2px 0}.hbar span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.hbar b{display:block;height:11px;border-radius:3px;background:var(--c1);min-width:2px}.hbar em{font-style:normal;color:var(--muted);font-variant-numeric:tabular-nums;text-align:right;min-width:70px}
.note{color:var(--muted);font-size:13px}code{font:12.5px ui-monospace,"DejaVu Sans Mono",monospace;background:var(--bg);border-radius:4px;padding:1px 5px;overflow-wrap:anywhere}
.ok-text{color:var(--good)}.bad-text{color:var(--bad)}.warn-text{color:var(--warn)}.error{border-left:5px solid var(--bad)}pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:6px 0}
details summary{cursor:pointer;color:var(--muted);margin-top:10px}.columns{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:12px}
.column{border:1px solid var(--line);border-radius:8px;padding:9px 11px;font-size:12.5px}.column b{overflow-wrap:anywhere}
.examples{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:12px}.examples article{border:1px solid var(--line);border-radius:8px;padding:9px 12px;font-size:13.5px;overflow-wrap:anywhere}
.examples h4{margin:0 0 4px;font-size:13.5px}.examples dl{display:grid;grid-template-columns:auto 1fr;gap:1px 10px;margin:6px 0 0}.examples dt{color:var(--muted)}.examples dd{margin:0;text-align:right}
@media(max-width:520px){figure.wide{overflow-x:auto}figure.wide svg{min-width:640px}main{padding:18px 12px 40px}section{padding:14px}.words dl{grid-template-columns:1fr}.words dd{margin-bottom:6px}}
@media print{:root{--bg:#fff;--card:#fff;--ink:#000;--muted:#444;--line:#bbb;--good:#15713a;--bad:#b42318;--warn:#8a5300;--on:#fff;--link:#000;
--c1:#2563eb;--c2:#ea7317;--c3:#0f9d8a;--c4:#9333ea;--c5:#64748b}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
@page{margin:14mm}main{max-width:none;padding:0}body{font-size:11pt}section{border:0;border-top:1px solid var(--line);border-radius:0;padding:10px 0;margin:8px 0}
h2,h3{break-after:avoid}figure,tr,.tile,.column,.hbar,.examples article,.findings li{break-inside:avoid}.scroll{max-height:none;overflow:visible}
details::details-content{content-visibility:visible;block-size:auto}a{text-decoration:none}thead{display:table-header-group}}
"""
