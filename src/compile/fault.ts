/** `fault` of a VirtualService's http route. Without a percentage nothing is injected, as in Istio. */
import * as z from 'zod';
import { grpcStatusNames } from '../route/fault.ts';
import type { FaultAbort, FaultPolicy } from '../route/model.ts';
import { durationSchema } from './values.ts';

/** Istio's Percent, to a share. */
export const percentSchema = z
  .strictObject({ value: z.number().min(0).max(100).default(0) })
  .transform(({ value }) => value / 100);
/** The older integer form. */
export const wholePercentSchema = z
  .number()
  .int()
  .min(0)
  .max(100)
  .transform((value) => value / 100);

const delaySchema = z
  .strictObject({
    fixedDelay: durationSchema,
    percentage: percentSchema.nullish(),
    percent: wholePercentSchema.nullish(),
  })
  .transform(({ fixedDelay, percentage, percent }) => ({
    delayMs: fixedDelay,
    share: percentage ?? percent ?? 0,
  }));

const abortSchema = z
  .strictObject({
    httpStatus: z.number().int().min(200).max(599).nullish(),
    grpcStatus: z.string().nullish(),
    percentage: percentSchema.nullish(),
  })
  .transform(({ httpStatus, grpcStatus, percentage }, context) => {
    const answer = abortAnswer(httpStatus ?? undefined, grpcStatus ?? undefined);
    if (answer !== undefined) return { answer, share: percentage ?? 0 };
    context.addIssue({ code: 'custom', message: 'an abort has either an httpStatus or a known grpcStatus' });
    return z.NEVER;
  });

export const faultSchema = z
  .strictObject({ delay: delaySchema.nullish(), abort: abortSchema.nullish() })
  .refine(({ delay, abort }) => delay != null || abort != null, 'a fault is a delay or an abort')
  .transform(({ delay, abort }): FaultPolicy => ({ delay: delay ?? undefined, abort: abort ?? undefined }));

function abortAnswer(status: number | undefined, grpc: string | undefined): FaultAbort | undefined {
  if (grpc === undefined) return status === undefined ? undefined : { kind: 'http', status };
  const known: readonly string[] = grpcStatusNames;
  const number = /^\d{1,2}$/.test(grpc) ? Number(grpc) : known.indexOf(grpc);
  if (status !== undefined || number < 0 || number >= known.length) return undefined;
  return { kind: 'grpc', grpcStatus: number };
}
