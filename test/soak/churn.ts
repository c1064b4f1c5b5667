/**
 * What changes under the load: pods that come, serve and go as Kubernetes does it (ready, not ready, gone), and policies.
 * Certificates change by themselves, being short-lived. Nothing here may make an exchange fail.
 */
import type { Server, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { LabMesh } from '../../src/app/lab-mesh.ts';
import { listenIn } from '../../src/lab/sockets.ts';
import { eventually } from '../support/eventually.ts';
import { comingPod, labelsOf, port, removePodFile, type SoakPod, writePod, writePolicies } from './mesh.ts';

const policyEveryMs = 1000;
const quietMs = 1500;

interface Dump {
  readonly workloads: readonly { readonly name: string }[];
}

/** An echo server in a pod. */
export class Echo {
  accepted = 0;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  async start(mesh: LabMesh, pod: SoakPod): Promise<this> {
    const { server } = await listenIn(mesh.lab.namespace(pod.name), { port }, (socket) => {
      this.accepted++;
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      socket.pipe(socket);
    });
    this.#server = server;
    return this;
  }

  get open(): number {
    return this.#sockets.size;
  }

  close(): void {
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

export class Churn {
  pods = 0;
  policies = 0;
  readonly problems: string[] = [];
  readonly #mesh: LabMesh;
  readonly #loops: readonly Promise<void>[];
  #stopping = false;

  constructor(mesh: LabMesh) {
    this.#mesh = mesh;
    this.#loops = [this.#changePods(), this.#changePolicies()];
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#loops);
  }

  async #changePods(): Promise<void> {
    while (!this.#stopping) {
      try {
        await this.#comeAndGo(comingPod(this.pods));
        this.pods++;
      } catch (error) {
        this.problems.push(`pod ${this.pods}: ${String(error)}`);
        return;
      }
    }
  }

  async #comeAndGo(pod: SoakPod): Promise<void> {
    const { lab, folder } = this.#mesh;
    const { name, ip, node, app } = pod;
    await lab.addPod({
      name,
      ip,
      node,
      namespace: 'default',
      serviceAccount: app,
      labels: labelsOf(pod),
      captured: true,
    });
    const echo = await new Echo().start(this.#mesh, pod);
    // As in a cluster: known to all before it is ready, so that nobody is sent to a ztunnel that does not know it.
    writePod(folder, pod, false);
    await eventually(`${name} is known`, () => this.#isKnown(name), 20_000);
    writePod(folder, pod, true);
    await eventually(`${name} gets connections`, () => echo.accepted >= 3, 20_000);
    writePod(folder, pod, false);
    await eventually(`${name} gets no more`, () => this.#isQuiet(echo), 20_000);
    echo.close();
    removePodFile(folder, pod);
    await lab.removePod(name);
  }

  async #isKnown(name: string): Promise<boolean> {
    for (const proxy of this.#mesh.proxies) {
      const { workloads } = JSON.parse((await this.#mesh.ask(proxy, '/config_dump')).body) as Dump;
      if (!workloads.some((workload) => workload.name === name)) return false;
    }
    return true;
  }

  async #isQuiet(echo: Echo): Promise<boolean> {
    const before = echo.accepted;
    await delay(quietMs);
    return echo.accepted === before && echo.open === 0;
  }

  async #changePolicies(): Promise<void> {
    while (!this.#stopping) {
      writePolicies(this.#mesh.folder, this.policies++);
      await delay(policyEveryMs);
    }
  }
}
