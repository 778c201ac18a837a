/* What scrolls in itself can be reached by the keyboard. */
addEventListener("load", () =>
  document.querySelectorAll(".md-typeset__scrollwrap, .highlight pre > code").forEach(part => {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0
  })
)
