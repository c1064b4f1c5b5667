/**
 * What the demo says and how: headings, lines, checks with their verdict, progress while something takes its time.
 * Colours and the moving progress line only on a terminal; piped output is plain text, line by line.
 *
 * I1: a check is counted when it is printed, so what the user reads and what decides the exit code are the same.
 */
import { styleText } from 'node:util';

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
}

type Style = Parameters<typeof styleText>[0];

export class DemoConsole {
  readonly failures: string[] = [];
  passed = 0;
  readonly #output: Output;
  readonly #colours: boolean;
  #progress = '';

  constructor(output: Output, environment: NodeJS.ProcessEnv) {
    this.#output = output;
    this.#colours = output.isTTY === true && !environment.NO_COLOR && environment.TERM !== 'dumb';
  }

  heading(text: string): void {
    this.line('');
    this.line(this.style('bold', text));
  }

  line(text: string): void {
    this.#clearProgress();
    this.#output.write(`${text}\n`);
  }

  /** One thing that was to be true, with what was seen. */
  check(name: string, ok: boolean, seen: string): void {
    if (ok) this.passed++;
    else this.failures.push(`${name}: ${seen}`);
    const mark = ok ? this.style('green', '✓') : this.style('red', '✗');
    this.line(`  ${mark} ${name}  ${this.style(ok ? 'gray' : 'red', seen)}`);
  }

  /** What is going on now. On a terminal it gives way to the next line. */
  progress(text: string): void {
    if (this.#output.isTTY !== true) {
      this.#output.write(`… ${text}\n`);
      return;
    }
    this.#clearProgress();
    this.#progress = `… ${text}`;
    this.#output.write(this.style('gray', this.#progress));
  }

  style(style: Style, text: string): string {
    return this.#colours ? styleText(style, text, { validateStream: false }) : text;
  }

  #clearProgress(): void {
    if (this.#progress === '') return;
    this.#progress = '';
    this.#output.write('\r\u001b[K');
  }
}
