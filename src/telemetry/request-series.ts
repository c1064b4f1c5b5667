/** Metrics of requests of one label set: cells by class of request, and counters of gRPC messages. */
import type { Counter, Histogram, Labels } from '../base/metrics.ts';
import type { HeldCells } from './held-cells.ts';
import { messageLabels, requestLabels } from './label-sets.ts';
import { shapedLabels } from './metric-shape.ts';
import type { Series } from './series-table.ts';
import type { RequestLabels, TrafficLabels } from './traffic-labels.ts';
import type { TrafficMetricName } from './traffic-names.ts';

/** Classes of requests whose cells are found at once; there are a few hundred at most, since codes and flags are bounded. */
const quickClasses = 32;

export class RequestSeries implements Series {
  readonly labels: TrafficLabels;
  readonly live = 0;
  activity = 0;
  readonly #cells: HeldCells;
  readonly #quick: RequestCells[] = [];
  readonly #all = new Map<string, RequestCells>();
  #messages: MessageCells | undefined;

  constructor(cells: HeldCells, labels: TrafficLabels) {
    this.labels = labels;
    this.#cells = cells;
  }

  add(request: RequestLabels, durationMs: number, requestBytes: number, responseBytes: number): void {
    this.activity++;
    const cells = this.#quick.find((each) => each.isOf(request)) ?? this.#find(request);
    cells.add(durationMs, requestBytes, responseBytes);
  }

  addMessages(received: number, sent: number): void {
    this.activity++;
    this.#messages ??= new MessageCells(this.#cells, this.labels);
    this.#messages.add(received, sent);
  }

  drop(): void {
    for (const cells of this.#all.values()) cells.release();
    this.#messages?.release();
  }

  #find(request: RequestLabels): RequestCells {
    const { requestProtocol, responseCode, responseFlags, grpcStatus } = request;
    const key = `${requestProtocol} ${responseCode} ${responseFlags} ${grpcStatus}`;
    const known = this.#all.get(key);
    if (known !== undefined) return known;
    const cells = new RequestCells(this.#cells, this.labels, request);
    this.#all.set(key, cells);
    if (this.#quick.length < quickClasses) this.#quick.push(cells);
    return cells;
  }
}

/** Some cells of one label set, those that are not off. */
class CellGroup {
  readonly #cells: HeldCells;
  readonly #traffic: TrafficLabels;
  readonly #labels: Labels;
  readonly #held: (readonly [TrafficMetricName, object, Labels])[] = [];

  constructor(cells: HeldCells, traffic: TrafficLabels, labels: Labels) {
    this.#cells = cells;
    this.#traffic = traffic;
    this.#labels = labels;
  }

  release(): void {
    for (const [name, cell, labels] of this.#held) this.#cells.release(name, cell, labels);
  }

  protected counter(name: TrafficMetricName): Counter | undefined {
    return this.#make(name, (labels) => this.#cells.counter(name, labels));
  }

  protected histogram(name: TrafficMetricName): Histogram | undefined {
    return this.#make(name, (labels) => this.#cells.histogram(name, labels));
  }

  #make<Cell extends object>(name: TrafficMetricName, make: (labels: Labels) => Cell): Cell | undefined {
    const labels = shapedLabels(this.#traffic.shape, name, this.#labels);
    if (labels === undefined) return undefined;
    const cell = make(labels);
    this.#held.push([name, cell, labels]);
    return cell;
  }
}

/** Of one class: protocol, status and flags. */
class RequestCells extends CellGroup {
  readonly #class: RequestLabels;
  readonly #requests = this.counter('istio_requests_total');
  readonly #durations = this.histogram('istio_request_duration_milliseconds');
  readonly #requestBytes = this.histogram('istio_request_bytes');
  readonly #responseBytes = this.histogram('istio_response_bytes');

  constructor(cells: HeldCells, labels: TrafficLabels, request: RequestLabels) {
    super(cells, labels, requestLabels(labels, request));
    this.#class = request;
  }

  isOf({ requestProtocol, responseCode, responseFlags, grpcStatus }: RequestLabels): boolean {
    const own = this.#class;
    return (
      own.responseCode === responseCode &&
      own.requestProtocol === requestProtocol &&
      own.responseFlags === responseFlags &&
      own.grpcStatus === grpcStatus
    );
  }

  add(durationMs: number, requestBytes: number, responseBytes: number): void {
    if (this.#requests !== undefined) this.#requests.value++;
    this.#durations?.observe(durationMs);
    this.#requestBytes?.observe(requestBytes);
    this.#responseBytes?.observe(responseBytes);
  }
}

class MessageCells extends CellGroup {
  readonly #received = this.counter('istio_request_messages_total');
  readonly #sent = this.counter('istio_response_messages_total');

  constructor(cells: HeldCells, labels: TrafficLabels) {
    super(cells, labels, messageLabels(labels));
  }

  add(received: number, sent: number): void {
    if (this.#received !== undefined) this.#received.value += received;
    if (this.#sent !== undefined) this.#sent.value += sent;
  }
}
