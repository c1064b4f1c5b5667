/**
 * One value for values that are equal, found again by a text that says what they are: a folder names the same Services, headers and
 * paths thousands of times. What is handed out is immutable.
 *
 * I1: bounded in number and by the length of the text; what is not known is made again, what is too long is not shared.
 */

export class Shared<T> {
  readonly #known = new Map<string, T>();
  readonly #most: number;
  readonly #longest: number;

  constructor({ most, longest }: { readonly most: number; readonly longest: number }) {
    this.#most = most;
    this.#longest = longest;
  }

  get(text: string): T | undefined {
    return text.length > this.#longest ? undefined : this.#known.get(text);
  }

  /** What is known by the text, else `value`, from now on. */
  of<Value extends T>(text: string, value: Value): Value {
    if (text.length > this.#longest) return value;
    const known = this.#known.get(text);
    if (known !== undefined) return known as Value;
    if (this.#known.size >= this.#most) this.#known.clear();
    this.#known.set(text, value);
    return value;
  }
}

/** A label's value has 63 characters; longer texts are mostly said once. */
export function sharedTexts(): Shared<string> {
  return new Shared({ most: 8192, longest: 64 });
}
