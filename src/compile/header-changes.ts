/** Header changes in the two forms users write: lists (HTTPRoute) and maps (VirtualService). Names become lower case. */
import * as z from 'zod';
import type { HeaderChange } from '../route/model.ts';
import { listOf } from './values.ts';

/** RFC 9110 token. Pseudo-headers are not headers here. */
const nameSchema = z
  .string()
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'not a header name')
  .transform((name) => name.toLowerCase());
const valueSchema = z
  .union([z.string(), z.number(), z.boolean()])
  .transform(String)
  // RFC 9110 §5.5, and no character that HTTP/1.1 would have to cut to one byte: U+010A would become a line break.
  .refine((value) => /^[\t\x20-\x7e\x80-\xff]*$/.test(value), 'not a header value: no control or wide characters');

const pairs = listOf(
  z.object({ name: nameSchema, value: valueSchema }).transform(({ name, value }) => [name, value] as const),
);
const pairMap = z
  .record(nameSchema, valueSchema)
  .nullish()
  .transform((map) => Object.entries(map ?? {}));

/** `requestHeaderModifier` of Gateway API. */
export const headerFilterSchema = z.strictObject({ set: pairs, add: pairs, remove: listOf(nameSchema) });

/** `headers.request` of a VirtualService. */
export const headerOperationsSchema = z
  .strictObject({ set: pairMap, add: pairMap, remove: listOf(nameSchema) })
  .nullish()
  .transform((change): HeaderChange | undefined => change ?? undefined);
