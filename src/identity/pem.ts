/** PEM (RFC 7468) as text: what is in a block is OpenSSL's business. */

/** The certificates of a text with any number of PEM blocks, each with one newline at its end. */
export function splitPem(text: string): string[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+?-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => `${block.replaceAll('\r', '')}\n`);
}
