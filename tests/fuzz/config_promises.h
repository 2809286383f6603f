#ifndef TESTS_FUZZ_CONFIG_PROMISES_H_
#define TESTS_FUZZ_CONFIG_PROMISES_H_

#include "trainer/config/train_config.pb.h"

namespace moe {

// What holds of any configuration that a user managed to type: it prints as
// text that reads the same, is judged without harm for every number of ranks,
// and resolves, where it is valid, to one that stays valid and as it is.
void CheckConfigPromises(const TrainConfig& config);

}  // namespace moe

#endif  // TESTS_FUZZ_CONFIG_PROMISES_H_
