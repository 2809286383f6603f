#include "comm/watch/start_watch.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "comm/activity.h"
#include "comm/base/exit_code.h"
#include "comm/base/quiet_thread.h"
#include "comm/base/running_time.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/roster.h"
#include "comm/watch/watch_state.h"

namespace moe {
namespace {

constexpr std::chrono::milliseconds kTick(500);
// Rank 0 speaks this long after the limit, so that a watchdog that stands
// already is first, and each further rank so much later than the one before.
constexpr absl::Duration kFirstWord = absl::Seconds(1);
constexpr absl::Duration kBetweenRanks = absl::Seconds(3);
// So much later where another rank has left: it has told already, and a busy
// launcher has not ended the job yet; or it is lost, and nobody has told.
constexpr absl::Duration kForTheLauncher = absl::Seconds(30);

// Of an environment as /proc shows it: the value of `name`, or empty.
std::string VariableOf(const std::string& environment, absl::string_view name) {
  for (absl::string_view entry : absl::StrSplit(environment, '\0')) {
    if (absl::ConsumePrefix(&entry, name) && absl::ConsumePrefix(&entry, "="))
      return std::string(entry);
  }
  return "";
}

// That which a process was started with; empty if it is gone or not ours to
// read.
std::string ReadEnvironment(int pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/environ"));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

bool Runs(const SeenProcess& process) {
  return process.state == 'R' || process.state == 'S';
}

bool IsStopped(const SeenProcess& process) {
  return process.state == 'T' || process.state == 't';
}

}  // namespace

std::vector<SeenProcess> FindProcessesOfJob() {
  std::vector<SeenProcess> seen;
  // PMIx gives these to what mpirun and srun start alike.
  const char* job = std::getenv("PMIX_NAMESPACE");
  if (job == nullptr) return seen;
  std::error_code error;
  // Not a range-for: its steps throw.
  for (std::filesystem::directory_iterator entry("/proc", error), end;
       !error && entry != end; entry.increment(error)) {
    SeenProcess process;
    if (!absl::SimpleAtoi(entry->path().filename().string(), &process.pid))
      continue;
    const std::string environment = ReadEnvironment(process.pid);
    if (VariableOf(environment, "PMIX_NAMESPACE") != job ||
        !absl::SimpleAtoi(VariableOf(environment, "PMIX_RANK"), &process.rank))
      continue;
    process.state = ProcessState(process.pid);
    if (process.state != '\0') seen.push_back(process);
  }
  std::sort(seen.begin(), seen.end(),
            [](const SeenProcess& a, const SeenProcess& b) {
              return std::tie(a.rank, a.pid) < std::tie(b.rank, b.pid);
            });
  return seen;
}

LostRankReport MakeStartReport(int self, int world, const std::string& host,
                               const std::string& operation,
                               const std::vector<SeenProcess>& seen,
                               absl::Duration limit) {
  const std::string not_found =
      absl::StrCat("its process was not found on host ", host);
  std::vector<std::string> lines(static_cast<size_t>(world), not_found);
  const SeenProcess* strange = nullptr;
  for (const SeenProcess& process : seen) {
    if (process.rank < 0 || process.rank >= world) continue;
    // A rank may have several: a script around it, and itself.
    std::string& line = lines[static_cast<size_t>(process.rank)];
    if (process.rank == self) {
      line = operation;
    } else if (!Runs(process)) {
      line = DescribeProcess(std::string(1, process.state));
      // The disk of others may just be slow.
      if (strange == nullptr || (IsStopped(process) && !IsStopped(*strange)))
        strange = &process;
    } else if (line == not_found) {
      line = absl::StrCat("its process runs on host ", host);
    }
  }
  const std::string waited =
      absl::StrCat("rank ", self, " has waited in ", operation,
                   " longer than parallel.collective_timeout_seconds (",
                   absl::ToInt64Seconds(limit), ")");
  LostRankReport report;
  if (strange != nullptr) {
    report.cause = absl::StrCat(
        "rank ", strange->rank, " (",
        ToString(Member{.host = host, .pid = strange->pid}),
        ") does not come to the start of the job: ",
        DescribeProcess(std::string(1, strange->state)), "; ", waited);
  } else {
    report.cause = absl::StrCat("the job does not start: ", waited,
                                "; the reason is not seen on host ", host);
  }
  report.text = absl::StrCat(report.cause, "\nwhat each rank was doing:\n",
                             LinesByRank(lines));
  report.exit_code = ExitCode(absl::UnavailableError(""));
  return report;
}

bool HasLeft(const std::vector<SeenProcess>& before,
             const std::vector<SeenProcess>& now) {
  return std::any_of(before.begin(), before.end(),
                     [&](const SeenProcess& process) {
                       return std::none_of(now.begin(), now.end(),
                                           [&](const SeenProcess& other) {
                                             return other.rank == process.rank;
                                           });
                     });
}

bool TellersClaim::Take(const std::string& job) {
  if (job.empty() || socket_ >= 0) return true;
  // A name that begins with a zero is in no file system (unix(7)).
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string name = absl::StrCat("moe-start-", job);
  const size_t length = std::min(name.size(), sizeof(address.sun_path) - 1);
  std::copy_n(name.begin(), length, address.sun_path + 1);
  socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket_ < 0) return true;  // better two reports than none
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  if (bind(socket_, reinterpret_cast<const sockaddr*>(&address), size) == 0 ||
      errno != EADDRINUSE)
    return true;
  Release();
  return false;
}

void TellersClaim::Release() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
}

StartPatience::StartPatience(int rank, absl::Duration limit)
    : limit_(limit), patience_(limit + kFirstWord + rank * kBetweenRanks) {}

std::optional<std::vector<SeenProcess>> StartPatience::Ask(
    absl::Duration counted, absl::FunctionRef<bool()> claim,
    absl::FunctionRef<std::vector<SeenProcess>()> look) {
  if (counted > limit_ && before_.empty()) before_ = look();
  if (counted <= patience_) return std::nullopt;
  // Before looking: who has told leaves after that, and is missed then.
  if (claim()) {
    std::vector<SeenProcess> seen = look();
    if (!HasLeft(before_, seen)) return seen;
    before_ = std::move(seen);
  }
  patience_ = counted + kForTheLauncher;
  return std::nullopt;
}

StartWatch::StartWatch(Options options) : options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<StartWatch>> StartWatch::Start(Options options) {
  std::unique_ptr<StartWatch> watch(new StartWatch(std::move(options)));
  ASSIGN_OR_RETURN(
      watch->thread_,
      StartQuietThread("start_watch", [raw = watch.get()] { raw->Run(); }));
  return watch;
}

StartWatch::~StartWatch() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_over_ = true;
  }
  ends_.notify_one();
  thread_.join();
}

bool StartWatch::IsOverAfterTick() {
  std::unique_lock<std::mutex> lock(mutex_);
  return ends_.wait_for(lock, kTick, [this] { return is_over_; });
}

void StartWatch::Run() {
  StartPatience patience(options_.rank, options_.limit);
  TellersClaim claim;
  const char* name = std::getenv("PMIX_NAMESPACE");
  const std::string job = name == nullptr ? "" : name;
  absl::Duration counted;
  RunningTime time;
  while (!IsOverAfterTick()) {
    counted += time.Take();
    const auto seen = patience.Ask(
        counted, [&] { return claim.Take(job); }, FindProcessesOfJob);
    if (!seen.has_value()) {
      claim.Release();
      continue;
    }
    const Activity activity = CurrentActivity();
    const LostRankReport report = MakeStartReport(
        options_.rank, options_.world, ThisMember().host,
        activity.waits ? activity.wait.operation : ToString(activity.position),
        *seen, options_.limit);
    options_.report(report);
    std::_Exit(report.exit_code);
  }
}

}  // namespace moe
