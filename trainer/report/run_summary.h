#ifndef TRAINER_REPORT_RUN_SUMMARY_H_
#define TRAINER_REPORT_RUN_SUMMARY_H_

#include <string>
#include <vector>

#include "comm/mesh.h"
#include "trainer/config/run_length.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// What a run says of itself before its first step, in lines: the model and the
// layout, steps and losses, and the capacity if there is one. `step`: where it
// begins.
std::vector<std::string> RunSummary(const TrainConfig& config, const Mesh& mesh,
                                    const RunLength& length, int64_t step);

}  // namespace moe

#endif  // TRAINER_REPORT_RUN_SUMMARY_H_
