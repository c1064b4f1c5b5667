/**
 * What RUST_LOG's targets mean here. A target is one of our topics, or a Rust module path: `ztunnel::proxy=debug` turns on
 * the topics that do that module's work. Paths of other crates (`hickory_server`, `h2`) concern nothing here.
 */

/** Topic → the module of ztunnel that does the same. `access` is a target of its own in ztunnel too. */
const modules: Readonly<Record<string, string>> = {
  ztunnel: 'ztunnel::proxy',
  hbone: 'ztunnel::proxy',
  policy: 'ztunnel::rbac',
  identity: 'ztunnel::identity',
  ca: 'ztunnel::identity',
  inpod: 'ztunnel::inpod',
  xds: 'ztunnel::xds',
  mesh: 'ztunnel::state',
  config: 'ztunnel::config',
  admin: 'ztunnel::admin',
  dns: 'ztunnel::dns',
  tracing: 'ztunnel::telemetry',
};

const exact = 100;

/**
 * How closely a target names a topic; 0: not at all. `louder`: the directive asks for more than usual; only then does
 * it reach a topic that is wider than the target, since turning off a part must not turn off the whole.
 */
export function targetSpecificity(target: string, topic: string, louder: boolean): number {
  const module = Object.hasOwn(modules, topic) ? modules[topic] : undefined;
  if (target === topic && target !== 'ztunnel') return exact;
  if (module === undefined) return target === topic ? exact : 0;
  if (target === module || module.startsWith(`${target}::`)) return target.split('::').length;
  return louder && target.startsWith(`${module}::`) ? target.split('::').length : 0;
}

/** Whether a word alone names a target and not, misspelt, a level. */
export function isLogTarget(word: string): boolean {
  if (word === 'access' || word === 'waypoint' || Object.hasOwn(modules, word)) return true;
  return /^\w{1,64}(::\w{1,64}){1,8}$/.test(word);
}
