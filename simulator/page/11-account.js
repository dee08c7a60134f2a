// What WhatsApp allows the account, and the dialog that a new account gets. Only the newest build shows them.
let reachOutLocked = false;
// What the page keeps of its account in the browser's database.
const accountPrefs = new Map();
const reachOutKey = 'WAReachoutTimelock';
const challengeKey = 'WAIntegrityChallengeState';
function setReachOut({ locked, until }) {
  reachOutLocked = locked;
  if (locked && until)
    accountPrefs.set(reachOutKey, { is_active: true, time_enforcement_ends: until, enforcement_type: 'DEFAULT' });
  else accountPrefs.delete(reachOutKey);
}
line.on('reach_out', setReachOut);
function setChallenge({ open }) {
  if (open) accountPrefs.set(challengeKey, { challenge_type: 'PASSKEY', passkey_challenge_base64: 'Y2hhbGxlbmdl' });
  else accountPrefs.delete(challengeKey);
}
line.on('challenge', setChallenge);
// The page learns of a temporary ban from the answer to its login, or while it is connected; then it shows nothing else.
const BackendEventBus = {
  triggerTemporaryBan(ban) {
    retired = true;
    Stream.set({ mode: 'BANNED', ban });
    line.close();
  },
};
line.on('temporary_ban', ({ code, expire }) => BackendEventBus.triggerTemporaryBan({ banned: true, code, expire }));
__d('WAWebBackendEventBus', () => ({ BackendEventBus }));
const news = { isShown: false, timer: null };

async function readAccount() {
  const { challenged, ...reachOut } = await line.request('reach_out');
  setReachOut(reachOut);
  setChallenge({ open: challenged });
}

/** A device that was just linked gets the dialog. If it is not answered, WhatsApp logs the device out. */
function showNews() {
  if (!lazy || options.newsMs === 0) return;
  news.isShown = true;
  news.timer = setTimeout(() => void Socket.logout(), options.newsMs);
}

if (lazy) {
  __d('WAWebReachoutTimelockUtils', () => ({
    isUserReachoutTimelocked: () => reachOutLocked,
    REACHOUT_TIMELOCK_IDB_KEY: reachOutKey,
  }));
  __d('WAWebWhatsNewNux', () => ({
    createWhatsNewNux: () => ({
      shouldShow: () => news.isShown,
      dismiss() {
        news.isShown = false;
        clearTimeout(news.timer);
      },
    }),
  }));
  __d('WAWebModalManager', () => ({ ModalManager: { close: () => {} } }));
}
// Since 2026-09 a page of a linked account may have to prove that its owner is there. It shows a dialog until that is done.
if (newest) {
  __d('WAWebUserPrefsIndexedDBStorage', () => ({ userPrefsIdb: { get: (key) => accountPrefs.get(key) } }));
  __d('WAWebIntegrityChallengeUtils', () => ({ INTEGRITY_CHALLENGE_IDB_KEY: challengeKey }));
}
