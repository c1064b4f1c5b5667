/**
 * A folder of YAML as the source of the mesh: read, compiled, and the difference applied to the store, again whenever
 * the folder changes. Changes are noticed by watching and, where a file system does not tell, by looking now and then.
 *
 * I1: what is broken keeps its last good state and is reported; before a first scan succeeded the store is not complete.
 * I2: policies and L7 rules are in force before the records that rely on them (order of pieces and callbacks).
 */
import { dirname, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock, Timer } from '../base/clock.ts';
import { type Diagnostic, formatDiagnostic } from '../base/diagnostics.ts';
import { errorCode, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { resultInSlices } from '../base/slices.ts';
import { type Compilation, Compiler } from '../compile/compile.ts';
import type { CompileOptions } from '../compile/options.ts';
import { PathWatch } from '../config/path-watch.ts';
import { diffMesh, emptyMeshModel, type MeshModel, splitChange } from '../mesh/diff.ts';
import type { MeshStore } from '../mesh/store.ts';
import { folderDiagnostic } from './codes.ts';
import type { DiscoveredMesh } from './discovered-mesh.ts';
import { FolderFiles, type FolderScan, folderSliceMs, type ScanOptions } from './folder-files.ts';
import { folderSteps, ruleSteps } from './folder-model.ts';

export interface FolderSourceOptions {
  /** Undefined: there is no folder, which is possible where the mesh is discovered. */
  readonly directory: string | undefined;
  /** Istio's mesh configuration as a file of its own. */
  readonly meshConfig?: string | undefined;
  readonly compile: CompileOptions;
  readonly store: MeshStore;
  /** The mesh is not the folder's: only rules are read from it. Closed by whoever made it. */
  readonly discovered?: DiscoveredMesh | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A new L7 model and the Gateways; called before the store changes. */
  readonly onCompiled?: (compilation: Compilation) => void;
  /** Everything that is wrong now; called after every scan that found a change. */
  readonly onDiagnostics?: (diagnostics: readonly Diagnostic[]) => void;
  /** Time between a change and its first reading, which believes only what is whole and has rested for a little less. */
  readonly debounceMs?: number;
  /** Time until what was not believed is: editors and `kubectl` write in several steps. */
  readonly settleMs?: number;
  readonly rescanMs?: number;
}

/** Records per turn of the event loop: keeps a large first state from holding up connections. */
const recordsPerTurn = 200;

export class FolderSource {
  readonly #options: FolderSourceOptions;
  readonly #files: FolderFiles;
  readonly #compiler: Compiler;
  #watches: readonly PathWatch[] = [];
  #applied: MeshModel = emptyMeshModel;
  #reported = new Set<string>();
  #running: Promise<void> | undefined;
  /** What the next scan is to look at. */
  #wanted: ScanOptions | undefined;
  #settling: Timer | undefined;
  #lastScan: FolderScan | undefined;
  #compiledMs = 0;
  #closed = false;

  constructor(options: FolderSourceOptions) {
    this.#options = options;
    this.#files = new FolderFiles(options.directory, options.clock, options.meshConfig);
    this.#compiler = new Compiler(options.compile);
    options.discovered?.onWaiting(() => this.#refreshInBackground({}));
  }

  /** Watches and reads the folder once. Resolves after that first attempt, whether or not it succeeded. */
  async start(): Promise<void> {
    const { directory, meshConfig, clock, logger, debounceMs = 6, rescanMs = 30_000 } = this.#options;
    // The directory of the file: what replaces a file is another one.
    const beside = meshConfig === undefined ? [] : [dirname(meshConfig)];
    this.#watches = [...(directory === undefined ? [] : [directory]), ...beside].map(
      (path) =>
        new PathWatch({
          path,
          recursive: path === directory,
          debounceMs,
          rescanMs,
          clock,
          onLook: (changed) => this.#refreshInBackground(hurriedScan(path, changed)),
          onLost: (error) =>
            logger.warn('cannot watch the folder, changes are noticed late', { path, error: errorText(error) }),
        }),
    );
    await this.refresh();
  }

  /** Reads the folder now. Resolves when what it says is in force. */
  async refresh(): Promise<void> {
    await this.#look({});
  }

  /** Stops watching. Resolves when nothing is under way any more; the store keeps its last state. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const watch of this.#watches) watch.close();
    this.#settling?.cancel();
    await this.#running;
  }

  async #look(scan: ScanOptions): Promise<void> {
    this.#wanted = this.#wanted === undefined ? scan : bothScans(this.#wanted, scan);
    this.#running ??= this.#run();
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#wanted !== undefined && !this.#closed) {
        const scan = this.#wanted;
        this.#wanted = undefined;
        await this.#scan(scan);
      }
    } finally {
      this.#running = undefined;
    }
  }

  async #scan(options: ScanOptions): Promise<void> {
    const { store, onCompiled, discovered, clock } = this.#options;
    if (discovered !== undefined && !discovered.complete) return;
    // The first state is never a hurried one: what it leaves out for now would not be in force.
    const { scan, problem } = await this.#files.scan(store.complete ? options : {}).then(
      (scan) => ({ scan, problem: undefined }),
      (error: unknown) => ({ scan: this.#lastScan, problem: this.#unreadable(error) }),
    );
    if (problem === undefined && scan?.settled === false) this.#lookAgain();
    const changed = problem === undefined && scan?.changed === true;
    if (scan === undefined || !(changed || discovered?.waiting || (problem === undefined && !store.complete))) {
      if (problem !== undefined) this.#report([problem]);
      return;
    }
    this.#lastScan = scan;
    const startMs = clock.nowMs();
    const steps =
      discovered === undefined ? folderSteps(scan, this.#compiler) : ruleSteps(scan, discovered, this.#compiler);
    const discoveredChange = discovered?.take(this.#compiledMs);
    const compilation = await resultInSlices(steps, { clock, sliceMs: folderSliceMs });
    this.#compiledMs = clock.nowMs() - startMs;
    this.#report(problem === undefined ? compilation.diagnostics : [problem, ...compilation.diagnostics]);
    const change = discoveredChange ?? diffMesh(this.#applied, compilation);
    onCompiled?.(compilation);
    for (const [i, piece] of splitChange(change, recordsPerTurn).entries()) {
      if (i > 0) await nextTurn();
      store.apply(piece);
    }
    const { workloads, services, policies } = compilation;
    this.#applied = discovered === undefined ? { workloads, services, policies } : emptyMeshModel;
    discovered?.settled();
    store.markComplete();
  }

  /** Throws what is no fault of the folder. */
  #unreadable(error: unknown): Diagnostic {
    if (errorCode(error) === undefined) throw error;
    const position = { file: this.#options.directory ?? '', line: 1, column: 1 };
    return folderDiagnostic('FOLDER_UNREADABLE', errorText(error), position);
  }

  /** What is still so after a while is meant. */
  #lookAgain(): void {
    const { clock, settleMs = 100 } = this.#options;
    this.#settling ??= clock.after(settleMs, () => {
      this.#settling = undefined;
      this.#refreshInBackground({});
    });
  }

  /** Logs what was not wrong before. */
  #report(diagnostics: readonly Diagnostic[]): void {
    const { logger, onDiagnostics } = this.#options;
    const reported = new Set<string>();
    for (const diagnostic of diagnostics) {
      const line = formatDiagnostic(diagnostic);
      reported.add(line);
      if (this.#reported.has(line)) continue;
      if (diagnostic.severity === 'error') logger.error(line);
      else if (diagnostic.severity === 'warning') logger.warn(line);
      else logger.info(line);
    }
    this.#reported = reported;
    onDiagnostics?.(diagnostics);
  }

  /** A scan that throws is a fault of ours: said aloud, and the last good state stays. */
  #refreshInBackground(scan: ScanOptions): void {
    this.#look(scan).catch((error: unknown) => {
      this.#options.logger.error('the folder could not be applied', { error: errorText(error) });
    });
  }
}

/** `changed`: names below the path. */
function hurriedScan(path: string, changed: ReadonlySet<string> | undefined): ScanOptions {
  const names = changed === undefined ? undefined : new Set([...changed].map((name) => join(path, name)));
  return { changed: names, hurried: names !== undefined };
}

/** What either would see. */
function bothScans(a: ScanOptions, b: ScanOptions): ScanOptions {
  const changed =
    a.changed === undefined || b.changed === undefined ? undefined : new Set([...a.changed, ...b.changed]);
  return { changed, hurried: a.hurried === true && b.hurried === true };
}
