// What WhatsApp allows the account, and the dialog that a new account gets. Only the newest build shows them.
let reachOutLocked = false;
line.on('reach_out', ({ locked }) => {
  reachOutLocked = locked;
});
const news = { isShown: false, timer: null };

async function readAccount() {
  reachOutLocked = (await line.request('reach_out')).locked;
}

/** A device that was just linked gets the dialog. If it is not answered, WhatsApp logs the device out. */
function showNews() {
  if (!lazy || options.newsMs === 0) return;
  news.isShown = true;
  news.timer = setTimeout(() => void Socket.logout(), options.newsMs);
}

if (lazy) {
  __d('WAWebReachoutTimelockUtils', () => ({ isUserReachoutTimelocked: () => reachOutLocked }));
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
