/** What the model says about telemetry of one tunnel's traffic: looked up once, and again when the model has changed. */
import type { L7Model } from '../../route/model.ts';
import { rulesFor, type TelemetryRules } from '../../route/telemetry/rules.ts';
import type { Tunnel, WaypointServices } from '../context.ts';

export class TunnelRules {
  readonly #services: WaypointServices;
  readonly #tunnel: Tunnel;
  #model: L7Model | undefined;
  #rules: TelemetryRules | undefined;

  constructor(services: WaypointServices, tunnel: Tunnel) {
    this.#services = services;
    this.#tunnel = tunnel;
  }

  of(model: L7Model): TelemetryRules | undefined {
    if (model.telemetry === undefined) return undefined;
    if (model !== this.#model) {
      const { destination } = this.#tunnel;
      const service = destination.kind === 'service' ? destination.service.key : undefined;
      this.#rules = rulesFor(model.telemetry, this.#services.own()?.key, service);
      this.#model = model;
    }
    return this.#rules;
  }
}
