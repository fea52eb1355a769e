// What went wrong, told so that somebody can act on it (problem+json, RFC 9457).

import { element, when } from './dom.js';
import { NoAnswer, Refused } from './gateway.js';
import { SignInError } from './signin.js';

/** `instances` are the ids that the call named, in its order. */
export function explain(error, instances = []) {
  if (error instanceof Refused) return refusal(error, instances);
  if (error instanceof NoAnswer) {
    return panel('No answer', `${error.message} If this was a reset, it may have happened: look at the history.`);
  }
  if (error instanceof SignInError) return panel('Not signed in', error.message);
  console.error(error);
  return panel('This page failed', 'The details are in the console of the browser.');
}

function panel(title, detail, ...more) {
  return element('div', { class: 'problem' }, element('h3', {}, title), element('p', {}, detail), ...more);
}

function refusal({ status, problem, retryAfter }, instances) {
  return panel(
    problem.title ?? 'Refused',
    problem.detail ?? '',
    list((problem.errors ?? []).map((error) => [element('strong', {}, place(error, instances)), ` ${error.detail}`])),
    list((problem.policies ?? []).map(policy)),
    retryAfter && element('p', { class: 'retry' }, `Try again in ${retryAfter} s: at `,
      when(new Date(Date.now() + retryAfter * 1000).toISOString()), '.'),
    status === 401 && element('button', {
      type: 'button',
      click: (event) => event.target.dispatchEvent(new CustomEvent('sign-in', { bubbles: true })),
    }, 'Sign in again'),
    element('p', { class: 'hint' }, [
      `${status} ${problem.type?.split(':').at(-1) ?? ''}`,
      problem.requestId && `request ${problem.requestId}`,
      problem.resetId && `reset ${problem.resetId}`,
      problem.upstreamCode && `Zenlayer: ${problem.upstreamCode}`,
      problem.upstreamRequestId && `its request ${problem.upstreamRequestId}`,
    ].filter(Boolean).join(' · ')),
  );
}

const list = (items) => items.length > 0 && element('ul', {}, items.map((item) => element('li', {}, item)));

/** The field, parameter or header; of a list of instances the instance itself. */
function place({ pointer, parameter, header }, instances) {
  const item = pointer?.match(/^#\/instanceIds\/(\d+)$/);
  return (item && instances[Number(item[1])]) ?? pointer?.replace(/^#\/?/, '') ?? parameter ?? header ?? '';
}

function policy({ id, effect, condition }) {
  if (effect === 'forbid') return [element('code', {}, id), ' forbids it.'];
  return condition
    ? [element('code', {}, id), ' would permit it, but this does not hold: ', element('code', {}, condition)]
    : [element('code', {}, id), ' does not permit it.'];
}
