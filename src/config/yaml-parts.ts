/** The documents of a text, cut apart at their markers before anything is parsed, so that each can be read and kept by itself. */

export interface YamlPart {
  readonly text: string;
  /** Of the text's first line in the file, from 1. */
  readonly line: number;
}

/** One part where there is a marker that says more than "the next document" (a directive, an end, content on its line). */
export function partsOf(text: string): readonly YamlPart[] {
  const parts: YamlPart[] = [];
  // A marker at the start of a line ends a document whatever it is in (YAML 1.2 §9.1.2), and nothing else begins so.
  const marker = /^(?:---|\.\.\.|%).*$/gm;
  let from = 0;
  let line = 1;
  for (let found = marker.exec(text); found !== null; found = marker.exec(text)) {
    if (!/^---[ ]*(?: #.*)?$/.test(found[0])) return [{ text, line: 1 }];
    const part = text.slice(from, found.index);
    parts.push({ text: part, line });
    line += linesIn(part) + 1;
    from = found.index + found[0].length + 1;
  }
  parts.push({ text: text.slice(from), line });
  return parts;
}

function linesIn(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count++;
  return count;
}
