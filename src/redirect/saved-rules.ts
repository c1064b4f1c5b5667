/** Reads what `iptables-save` prints: chains of each table with their rules, the text after `-A CHAIN`. */

/** Table name to chain name to rules. Built-in chains are there too. */
export type SavedRules = ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;

export function parseSavedRules(text: string): SavedRules {
  const tables = new Map<string, Map<string, string[]>>();
  let chains = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) {
      chains = new Map();
      tables.set(line.slice(1).trim(), chains);
    } else if (line.startsWith(':')) {
      const [name = ''] = line.slice(1).split(' ', 1);
      chains.set(name, []);
    } else if (line.startsWith('-A ')) {
      const [, chain = '', rule = ''] = /^-A (\S+) ?(.*)$/.exec(line) ?? [];
      chains.get(chain)?.push(rule.trim());
    }
  }
  return tables;
}

export function savedChain(saved: SavedRules, table: string, chain: string): readonly string[] | undefined {
  return saved.get(table)?.get(chain);
}
