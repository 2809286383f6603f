#ifndef COMM_WATCH_WATCH_REPORT_H_
#define COMM_WATCH_WATCH_REPORT_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "comm/mpi/roster.h"
#include "comm/watch/watch_message.pb.h"

namespace moe {

// What is known of a rank when the job is given up.
struct WatchedRank {
  enum class Link {
    kNone,  // it has never been heard of
    kOpen,
    kLost,  // closed without a word: its process or host is gone
    kLeft,  // left in good order
  };
  Link link = Link::kNone;
  RankState state;        // the newest
  absl::Duration age;     // of it
  bool answered = false;  // the inquiry
  std::optional<WatchAlarm> alarm;
};

// Why a job ends, for people.
struct LostRankReport {
  // One sentence, one line: "rank 3 (pid 812 on host node7) was lost: ...".
  std::string cause;
  // All of it, several lines, `cause` the first of them: what each rank did.
  std::string text;
  // What the job ends with: 71, or 70 where a defect is the cause.
  int exit_code = 0;
};

// Finds the rank that the others cannot go on without, and says so. `ranks` by
// number, like the roster. Pure: a function of what is known.
LostRankReport MakeLostRankReport(const Roster& roster,
                                  const std::vector<WatchedRank>& ranks,
                                  absl::Duration collective_timeout);

// "  rank 0-2,5: TEXT" for each text of `texts`, which are by rank: ranks that
// do the same share a line.
std::string LinesByRank(const std::vector<std::string>& texts);

// How many ranks wait at the same place of a group's sequence as one in `state`
// but in another collective. If any does, none of them will ever end.
int NumDifferent(const std::vector<WatchedRank>& ranks, const RankState& state);

}  // namespace moe

#endif  // COMM_WATCH_WATCH_REPORT_H_
