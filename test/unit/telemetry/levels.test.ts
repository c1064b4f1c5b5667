/** RUST_LOG as Rust users write it, and levels at run time. */
import t from 'tap';
import { LogLevels, rankOf } from '../../../src/telemetry/levels.ts';

/** Whether a topic's lines of a level are written. */
function writes(directives: string, topic: string, level: 'trace' | 'debug' | 'info' | 'warn' | 'error'): boolean {
  const levels = new LogLevels();
  levels.set(directives, true);
  return rankOf(level) >= levels.threshold(topic).rank;
}

t.test('a level alone is for all; a topic has its own', async (t) => {
  t.ok(writes('info,access=off', 'hbone', 'info'));
  t.notOk(writes('info,access=off', 'access', 'error'));
  t.notOk(writes('access=error', 'access', 'info'));
  t.ok(writes('warn,dns:debug', 'dns', 'debug'));
  t.notOk(writes('off', 'ztunnel', 'error'));
  t.ok(writes('INFO', 'mesh', 'info'));
});

t.test('Rust’s module paths mean the topics that do the same work', async (t) => {
  t.ok(writes('ztunnel::proxy=debug', 'hbone', 'debug'));
  t.ok(writes('ztunnel::proxy=debug', 'ztunnel', 'debug'));
  t.notOk(writes('ztunnel::proxy=debug', 'xds', 'debug'));
  t.ok(writes('ztunnel::rbac=trace', 'policy', 'trace'));
  t.ok(writes('ztunnel::identity=debug', 'ca', 'debug'));
  t.ok(writes('ztunnel=debug', 'xds', 'debug'), 'the crate is all of it');
  t.notOk(writes('ztunnel=debug', 'access', 'debug'), 'but not the access log, a target of its own');
  t.ok(writes('ztunnel=off,ztunnel::xds=info', 'xds', 'info'), 'the closer one counts');
  t.notOk(writes('ztunnel::xds=info,ztunnel=off', 'hbone', 'error'));
});

t.test('a part of a module makes its topic louder, never quieter', async (t) => {
  t.ok(writes('ztunnel::proxy::inbound=debug', 'ztunnel', 'debug'));
  t.ok(writes('ztunnel::proxy::pool=off', 'hbone', 'info'));
});

t.test('other crates, spans and targets without a level are taken as Rust takes them', async (t) => {
  t.ok(writes('info,hickory_server=off,h2=warn', 'dns', 'info'));
  t.ok(writes('info,ztunnel[conn{id=1,x=2}]=debug', 'hbone', 'debug'));
  t.ok(writes('info,ztunnel::xds', 'xds', 'trace'));
  t.ok(writes('access', 'access', 'debug'));
  t.ok(writes(' info , access = off ,, ', 'hbone', 'info'));
});

t.test('of two for the same target the last counts', async (t) => {
  t.ok(writes('access=off,access=info', 'access', 'info'));
  t.notOk(writes('access=info,access=off', 'access', 'info'));
});

t.test('nonsense is refused whole, and hostile text cannot grow the table', async (t) => {
  const levels = new LogLevels();
  for (const wrong of ['loud', 'inof', 'a=b=c', 'x=loud', '=info', `${'a'.repeat(300)}::b`]) {
    t.throws(() => levels.set(`debug,${wrong}`, false), { code: 'TELEMETRY_LOG_LEVEL' }, wrong);
  }
  t.equal(levels.current(), 'info');
  for (let i = 0; i < 1000; i++) levels.set(`target-${i}=debug`, false);
  t.equal(levels.current().split(',').length, 257);
});

t.test('reset goes back to what the program began with', async (t) => {
  const levels = new LogLevels();
  levels.start('warn,access=off');
  levels.set('trace,hbone=debug', false);
  levels.reset();
  t.equal(levels.current(), 'warn,access=off');
  levels.set('error', true);
  t.equal(levels.current(), 'error');
});
