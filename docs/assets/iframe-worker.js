// Search in a page that was opened from a disk: browsers give such pages no workers, so the worker's script runs in a
// hidden frame, behind the same two calls.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.title = "search"
      const inside = `<script>postMessage = data => parent.dispatchEvent(new CustomEvent("frame-says", { detail: data }))<\/script>`
      frame.srcdoc = `${inside}<script src="${url}"><\/script>`
      window.addEventListener("frame-says", said => this.dispatchEvent(new MessageEvent("message", { data: said.detail })))
      frame.addEventListener("load", () => {
        this.frame = frame
        this.waiting.forEach(data => this.postMessage(data))
      })
      const append = () => document.body.append(frame)
      document.body ? append() : document.addEventListener("DOMContentLoaded", append)
    }
    postMessage(data) {
      if (!this.frame) this.waiting.push(data)
      else this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }))
    }
    terminate() {
      this.frame?.remove()
    }
  }
}
