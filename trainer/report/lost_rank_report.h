#ifndef TRAINER_REPORT_LOST_RANK_REPORT_H_
#define TRAINER_REPORT_LOST_RANK_REPORT_H_

#include <string>

#include "absl/status/status.h"
#include "comm/watch/watch_report.h"
#include "data/storage/file_system.h"

namespace moe {

// Keeps why a job ended as lost_rank.txt in `directory`: the report, then the
// exit code and the time. One process calls it. A disk that does not answer,
// which may be the very cause, is given up after two seconds: DeadlineExceeded.
absl::Status SaveLostRankReport(FileSystem& files, const std::string& directory,
                                const LostRankReport& report);

}  // namespace moe

#endif  // TRAINER_REPORT_LOST_RANK_REPORT_H_
