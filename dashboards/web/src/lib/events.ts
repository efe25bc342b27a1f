// The format of server-sent events.

/** Splits a stream into events; `onId` hears of their ids. */
export class Parser {
  private rest = "";
  private name = "";
  private data: string[] = [];

  constructor(
    private readonly onEvent: (name: string, data: string) => void,
    private readonly onId: (id: string) => void,
  ) {}

  push(text: string): void {
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop() ?? "";
    for (const line of lines) this.line(line);
  }

  private line(line: string): void {
    if (line === "") {
      if (this.data.length > 0) this.onEvent(this.name || "message", this.data.join("\n"));
      this.name = "";
      this.data = [];
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.name = value;
    else if (field === "data") this.data.push(value);
    else if (field === "id") this.onId(value);
  }
}
