/* A page opened from a file may start no worker. There, a worker is a hidden frame that runs the same script, so that search works offline. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const address = new URL(url, location.href).href
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.title = "search"
      frame.srcdoc =
        "<script>" +
        "window.postMessage = data => parent.dispatchEvent(new MessageEvent('worker-said', {data}));" +
        "<\/script><script src=\"" + address + "\"><\/script>"
      this.waiting = []
      this.frame = frame
      frame.addEventListener("load", () => {
        const waiting = this.waiting
        this.waiting = null
        waiting.forEach(data => this.postMessage(data))
      })
      addEventListener("worker-said", said => this.dispatchEvent(new MessageEvent("message", { data: said.data })))
      document.body ? document.body.append(frame) : addEventListener("DOMContentLoaded", () => document.body.append(frame))
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data)
      else this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }))
    }
    terminate() {
      this.frame.remove()
    }
  }
}
