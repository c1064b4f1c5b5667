/**
 * Open TCP connections of a waypoint, decided again when policies change (design rule 8): one that is no longer allowed
 * is reset.
 *
 * I1: a change is worked through in slices, so that no turn of the loop is long; one that comes meanwhile starts anew.
 */
import { Members } from '../base/members.ts';

const sliceSize = 256;

export interface OpenTcpConnection {
  /** Decides again on the model of the moment, and ends the connection when that says so. Total. */
  recheck(): void;
}

export class TcpConnections {
  readonly #open = new Members<OpenTcpConnection>();
  readonly #toCheck = new Set<OpenTcpConnection>();
  #checking = false;

  /** What is returned is to be called when it is over. */
  add(connection: OpenTcpConnection): () => void {
    const member = this.#open.add(connection);
    return () => {
      this.#open.remove(member);
      this.#toCheck.delete(connection);
    };
  }

  recheck(): void {
    for (const connection of this.#open.all()) this.#toCheck.add(connection);
    if (!this.#checking) this.#check();
  }

  #check(): void {
    let left = sliceSize;
    for (const connection of this.#toCheck) {
      if (left-- === 0) break;
      this.#toCheck.delete(connection);
      connection.recheck();
    }
    this.#checking = this.#toCheck.size > 0;
    if (this.#checking) setImmediate(() => this.#check());
  }
}
