// The only script of `sluice ui`: a rollout as it goes on, and the token out of the address, where no server sees it.
"use strict";

const rollout = document.getElementById("rollout");
if (rollout && rollout.dataset.events) {
  const live = document.getElementById("live");
  const source = new EventSource(rollout.dataset.events);
  const say = (words) => { if (live.textContent !== words) live.textContent = words; };
  // What comes is drawn and escaped by the server; scripts in it would not run: the page's policy names each that may.
  source.addEventListener("state", (e) => { rollout.innerHTML = JSON.parse(e.data); say("live"); });
  source.addEventListener("trouble", (e) => say("not answering: " + JSON.parse(e.data)));
  source.addEventListener("over", () => { source.close(); say("over"); });
  source.onerror = () => say("connection lost, trying again");
}

const token = document.getElementById("token");
if (token && location.hash.length > 1) {
  token.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname + location.search);
}
