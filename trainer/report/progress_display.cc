#include "trainer/report/progress_display.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/base/monotonic_time.h"
#include "comm/mpi/mpi_runtime.h"
#include "data/text/utf8.h"
#include "trainer/config/units.h"

namespace moe {
namespace {

constexpr absl::Duration kPreparationInterval = absl::Seconds(10);

// "1:02:03"
std::string Clock(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  return absl::StrFormat("%d:%02d:%02d", seconds / 3600, seconds / 60 % 60,
                         seconds % 60);
}

// Eight cells, as far as the run has come.
std::string Bar(int64_t done, int64_t total) {
  constexpr int64_t kCells = 8;
  const int64_t full = total > 0 ? kCells * done / total : 0;
  return absl::StrCat("[", std::string(static_cast<size_t>(full), '#'),
                      std::string(static_cast<size_t>(kCells - full), '.'),
                      "] ");
}

// Of all layers' choices.
double DroppedFraction(const StepReport& report) {
  double sum = 0;
  for (const LayerRouting& layer : report.layers) sum += layer.dropped_fraction;
  return report.layers.empty()
             ? 0
             : sum / static_cast<double>(report.layers.size());
}

// Whole numbers: what is not finite is none.
std::string Rate(double per_second) {
  return std::isfinite(per_second)
             ? WithCommas(static_cast<int64_t>(per_second))
             : "?";
}

std::string LossText(double loss) {
  return std::isfinite(loss) ? absl::StrFormat("%.4f", loss) : "none";
}

size_t TerminalWidth() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return size.ws_col;
  return 120;
}

}  // namespace

bool ErrorsGoToTerminal() {
  if (const char* told = std::getenv("MOE_TERMINAL"); told != nullptr)
    return absl::string_view(told) == "1";
  if (!ReadLauncherEnvironment().launched) return isatty(STDERR_FILENO) != 0;
  char target[256];
  const std::string link = absl::StrCat("/proc/", getppid(), "/fd/2");
  const ssize_t size = readlink(link.c_str(), target, sizeof(target));
  if (size <= 0) return false;
  const absl::string_view name(target, static_cast<size_t>(size));
  return absl::StartsWith(name, "/dev/pts/") ||
         absl::StartsWith(name, "/dev/tty");
}

ProgressDisplay::~ProgressDisplay() {
  if (drawn_) std::fputc('\n', stderr);
}

void ProgressDisplay::Say(const std::string& line) {
  if (!enabled_) return;
  Erase();
  absl::FPrintF(stderr, "%s\n", PrintableText(line));
}

void ProgressDisplay::Preparation(const std::string& what, int64_t done,
                                  int64_t total) {
  if (!enabled_) return;
  const int64_t percent = total > 0 ? 100 * done / total : 100;
  const std::string line =
      PrintableText(absl::StrFormat("%s  %d %%", what, percent));
  if (terminal_) {
    Draw(line);
    return;
  }
  const absl::Duration now = MonotonicTime();
  if (what == last_what_ && now - last_preparation_ < kPreparationInterval)
    return;
  last_what_ = what;
  last_preparation_ = now;
  absl::FPrintF(stderr, "%s\n", line);
}

void ProgressDisplay::Step(const StepReport& report, const StepCost& cost,
                           int64_t num_steps) {
  if (!enabled_) return;
  // The time left is judged by all steps but the first, which also warms up.
  const absl::Duration now = MonotonicTime();
  if (first_step_ == 0) {
    first_step_ = report.step;
    first_step_time_ = now;
  }
  const int64_t timed = report.step - first_step_;
  const int64_t left = num_steps - report.step;
  const absl::Duration per_step = timed > 0 ? (now - first_step_time_) / timed
                                            : absl::Seconds(cost.step_seconds);
  const std::string line = StepLine(report, cost, num_steps, left * per_step);
  if (!terminal_ || cost.valid_loss.has_value()) {
    Say(line);
  } else {
    Draw(absl::StrCat(Bar(report.step, num_steps), line));
  }
}

void ProgressDisplay::Draw(const std::string& line) {
  Erase();
  std::string cut = line.substr(0, std::max<size_t>(TerminalWidth(), 2) - 1);
  cut.resize(ValidUtf8Prefix(cut));  // no half of a character
  std::fputs(cut.c_str(), stderr);
  std::fflush(stderr);
  drawn_ = true;
}

void ProgressDisplay::Erase() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

std::string StepLine(const StepReport& report, const StepCost& cost,
                     int64_t num_steps, absl::Duration left) {
  std::string line = absl::StrFormat("step %d/%d  ", report.step, num_steps);
  if (report.skipped) {
    absl::StrAppend(&line, "skipped");
  } else {
    const std::string loss = report.has_targets
                                 ? LossText(report.losses.cross_entropy)
                                 : "none (no target in the batch)";
    absl::StrAppendFormat(&line, "loss %s  aux %.3f  grad %.3g  lr %.3g", loss,
                          report.losses.aux, report.grad_norm,
                          report.learning_rate);
  }
  absl::StrAppendFormat(&line, "  %s tok/s  mfu %.1f %%  %s left",
                        Rate(cost.tokens_per_second), 100 * cost.mfu,
                        Clock(left));
  if (const double dropped = DroppedFraction(report); dropped > 0)
    absl::StrAppendFormat(&line, "  dropped %.1f %%", 100 * dropped);
  if (cost.valid_loss.has_value())
    absl::StrAppend(&line, "  valid loss ", LossText(*cost.valid_loss));
  return line;
}

}  // namespace moe
