/** Patterns of `matches`: RE2's syntax and its linear time, found anywhere in the text as CEL has it. */
import { RE2JS } from 're2js';

/** Undefined for what is no pattern. */
export function re2(pattern: string): ((text: string) => boolean) | undefined {
  try {
    const compiled = RE2JS.compile(pattern);
    return (text) => compiled.matcher(text).find();
  } catch {
    // RE2JS has no other way to say that it is none.
    return undefined;
  }
}
