import { expect, test } from "vitest";
import { Parser } from "./events";

test("events are read however the stream is cut", () => {
  const text = ': beat\n\nevent: rollout\nid: 7\ndata: {"a":\ndata: 1}\n\ndata: x\r\n\r\nevent: cut\ndata: y';
  for (let size = 1; size < text.length; size += 1) {
    const [events, ids]: [string[], string[]] = [[], []];
    const parser = new Parser(
      (name, data) => events.push(`${name}=${data}`),
      (id) => ids.push(id),
    );
    for (let at = 0; at < text.length; at += size) parser.push(text.slice(at, at + size));
    expect(events).toEqual(['rollout={"a":\n1}', "message=x"]);
    expect(ids).toEqual(["7"]);
  }
});
