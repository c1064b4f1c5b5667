/**
 * What the demo says and how: headings, lines, checks with their verdict, progress while something takes its time.
 * On a terminal, colours, a moving progress line and lines broken to its width; elsewhere plain text, a line a check.
 *
 * I1: a check is counted when it is printed, so what the user reads and what decides the exit code are the same.
 */
import { styleText } from 'node:util';

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  /** Of a terminal, now. */
  readonly columns?: number | undefined;
}

type Style = Parameters<typeof styleText>[0];

/** What was seen stands in a column of its own where the names leave room. */
const nameColumns = 44;

export class DemoConsole {
  /** Names of the checks that failed. */
  readonly failures: string[] = [];
  passed = 0;
  readonly #output: Output;
  readonly #colours: boolean;
  #progress = '';

  constructor(output: Output, environment: NodeJS.ProcessEnv) {
    this.#output = output;
    this.#colours = output.isTTY === true && !environment.NO_COLOR && environment.TERM !== 'dumb';
  }

  heading(text: string, note = ''): void {
    this.line('');
    const fits = text.length + 2 + note.length <= this.#columns;
    this.line(this.style('bold', text) + (note !== '' && fits ? `  ${this.style('gray', note)}` : ''));
    if (!fits) this.line(`  ${this.style('gray', note)}`);
  }

  line(text: string): void {
    this.#clearProgress();
    this.#output.write(`${text}\n`);
  }

  /** One thing that was to be true, with what was seen. `rail` goes before it, and before what does not fit the line. */
  check(name: string, ok: boolean, seen: string, rail = ''): void {
    if (ok) this.passed++;
    else this.failures.push(name);
    const mark = ok ? this.style('green', '✓') : this.style('red', '✗');
    const shown = (text: string) => this.style(ok ? 'gray' : 'red', text);
    const start = `  ${rail}${mark} ${name}`;
    // The rail is one column wide and a blank, however it is coloured.
    const railColumns = rail === '' ? 0 : 2;
    const wide = 4 + railColumns + Math.max(name.length, nameColumns) + 2 + seen.length;
    if (wide <= this.#columns) {
      this.line(`${start}${' '.repeat(Math.max(0, nameColumns - name.length))}  ${shown(seen)}`);
      return;
    }
    this.line(start);
    for (const part of wrapWords(seen, this.#columns - 6 - railColumns)) this.line(`  ${rail}    ${shown(part)}`);
  }

  /** What is going on now. On a terminal it gives way to the next line. */
  progress(text: string): void {
    if (this.#output.isTTY !== true) {
      this.#output.write(`… ${text}\n`);
      return;
    }
    this.#clearProgress();
    // A line that wraps could not be taken back.
    this.#progress = `… ${text}`.slice(0, Math.max(1, this.#columns - 1));
    this.#output.write(this.style('gray', this.#progress));
  }

  style(style: Style, text: string): string {
    return this.#colours ? styleText(style, text, { validateStream: false }) : text;
  }

  get #columns(): number {
    return this.#output.isTTY === true ? (this.#output.columns ?? 80) : Number.POSITIVE_INFINITY;
  }

  #clearProgress(): void {
    if (this.#progress === '') return;
    this.#progress = '';
    this.#output.write('\r\u001b[K');
  }
}

/** Breaks a line between words; a word that is longer than a line stays whole. */
function wrapWords(text: string, columns: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
