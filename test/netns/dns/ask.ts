/** A pod's program that asks a name server as any program would; prints what it got, one JSON line for each question. */
import { Resolver } from 'node:dns/promises';
import process from 'node:process';

const [server = '', ...questions] = process.argv.slice(2);

for (const question of questions) {
  const [name = '', type = 'A'] = question.split('/');
  const resolver = new Resolver({ timeout: 3000, tries: 1 });
  resolver.setServers([server]);
  const answer = await resolver
    .resolve(name, type)
    .then(String)
    .catch((error: NodeJS.ErrnoException) => error.code);
  console.log(JSON.stringify({ question, answer }));
}
