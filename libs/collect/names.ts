import { readFileSync } from 'node:fs';

/** Names of the host's users or groups by number, from a file in passwd(5) or group(5) form; empty where it cannot be read. */
export function namesById(file: string): Map<number, string> {
  const names = new Map<number, string>();
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return names;
  }
  for (const line of text.split('\n')) {
    const [name, , id] = line.split(':');
    if (name && id && !names.has(Number(id))) names.set(Number(id), name);
  }
  return names;
}
