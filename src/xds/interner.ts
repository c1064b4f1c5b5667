/**
 * What records of a mesh have in common, made once: texts (namespaces, nodes, names of services), identities, and whole
 * sub-records (ports, localities, gateways), found again by their bytes. One interner serves one stream of records.
 *
 * I1: what is handed out is immutable and may be shared by any number of records.
 * I2: bounded in number (`base/byte-table.ts`) and in bytes: what is long is not shared, since a name that keeps changing
 *     would leave each of its texts behind. What was forgotten is made again.
 */
import { ByteTable } from '../base/byte-table.ts';
import { isSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import { MalformedRecord, type WireReader } from './wire-reader.ts';

const textLimit = 1 << 17;
const recordLimit = 1 << 15;
/** A host name has 253; a service of forty ports a thousand. */
const longestText = 256;
const longestRecord = 1024;

export class Interner {
  #texts = new ByteTable<string>(textLimit);
  #identities = new ByteTable<SpiffeId>(textLimit);
  readonly #records = new Map<string, ByteTable<unknown>>();

  /** Gives its memory back: for when many records were read and few will follow. Those share among themselves. */
  forget(): void {
    this.#texts = new ByteTable(textLimit);
    this.#identities = new ByteTable(textLimit);
    this.#records.clear();
  }

  /** The text of the reader's current field. */
  text(reader: WireReader): string {
    const start = reader.span();
    const { bytes, position: end } = reader;
    if (start === end) return '';
    if (end - start > longestText) return reader.textOf(start, end);
    const known = this.#texts.get(bytes, start, end);
    if (known !== undefined) return known;
    const text = reader.textOf(start, end);
    // Another text's bytes could read as this one's characters.
    if (reader.isAscii(start, end)) this.#texts.setText(text, text);
    return text;
  }

  /** The one copy of a text that was put together. */
  shared(text: string): string {
    if (text.length > 2 * longestText) return text;
    const known = this.#texts.getText(text);
    if (known !== undefined) return known;
    if (isAsciiText(text)) this.#texts.setText(text, text);
    return text;
  }

  /** Throws `MalformedRecord` when the parts are no workload identity. */
  identity(trustDomain: string, namespace: string, serviceAccount: string): SpiffeId {
    const text = `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`;
    const known = this.#identities.getText(text);
    if (known !== undefined) return known;
    if (!isSpiffeId(text)) throw new MalformedRecord(`not a workload identity: ${JSON.stringify(text)}`, 'identity');
    if (text.length <= 4 * longestText) this.#identities.setText(text, text);
    return text;
  }

  /**
   * The record of a kind that `decode` makes of the bytes between `start` and `end`, or an equal one that was made before.
   * `decode` gets the reader with just these bytes entered.
   */
  record<T>(kind: string, reader: WireReader, start: number, end: number, decode: (reader: WireReader) => T): T {
    let table = this.#records.get(kind);
    if (table === undefined) {
      table = new ByteTable(recordLimit);
      this.#records.set(kind, table);
    }
    const isShared = end - start <= longestRecord;
    const known = isShared ? table.get(reader.bytes, start, end) : undefined;
    if (known !== undefined) return known as T;
    const { position, end: outer } = reader;
    reader.position = start;
    reader.end = end;
    const made = decode(reader);
    reader.position = position;
    reader.end = outer;
    if (isShared) table.set(reader.bytes, start, end, made);
    return made;
  }
}

function isAsciiText(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}
