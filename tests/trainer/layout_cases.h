#ifndef TESTS_TRAINER_LAYOUT_CASES_H_
#define TESTS_TRAINER_LAYOUT_CASES_H_

#include <string>

#include "trainer/config/train_config.pb.h"

namespace moe {

struct Layout {
  std::string name;
  int world;  // the case runs in a world of this size only
  int expert;
  int micro_size = 0;
  RouterConfig::AuxLossScope scope = RouterConfig::SEQUENCE;
  RunConfig::ComputeDType dtype = RunConfig::FLOAT32;
  int experts = 8;
  int global_size = 10;
  int tensor = 1;
  double capacity_factor = 0;
  RouterConfig::DropPolicy drop_policy = RouterConfig::PROBABILITY;
  bool documents = false;  // data.reset_attention
};

constexpr RouterConfig::AuxLossScope kMicroBatch = RouterConfig::MICRO_BATCH;

inline const Layout kDataAndExpertLayouts[] = {
    Layout{"OneRankMicro1", 1, 1, 1},
    Layout{"OneRankMicro3", 1, 1, 3},
    Layout{"ThreeRanks", 3, 0, 0},
    Layout{"ThreeRanksMicro2", 3, 0, 2},
    Layout{.name = "ThreeRanksExpert3",
           .world = 3,
           .expert = 3,
           .micro_size = 0,
           .experts = 12},
    Layout{"Data4", 4, 1, 0},
    Layout{"Data4Micro1", 4, 1, 1},
    Layout{"Expert4", 4, 4, 0},
    Layout{"Expert4Micro1", 4, 4, 1},
    Layout{"Expert2", 4, 2, 0},
    Layout{"Expert4MicroBatchScope", 4, 4, 0, kMicroBatch},
    Layout{"Data4MicroBatchScope", 4, 1, 0, kMicroBatch},
    Layout{"Expert4BFloat16", 4, 4, 0, RouterConfig::SEQUENCE,
           RunConfig::BFLOAT16},
    Layout{.name = "Expert4Capacity",
           .world = 4,
           .expert = 4,
           .micro_size = 1,
           .capacity_factor = 0.9},
    Layout{.name = "Expert2CapacityByPosition",
           .world = 4,
           .expert = 2,
           .micro_size = 0,
           .capacity_factor = 0.9,
           .drop_policy = RouterConfig::POSITION},
    Layout{.name = "ThreeRanksDocuments",
           .world = 3,
           .expert = 0,
           .micro_size = 2,
           .documents = true},
    Layout{.name = "Expert2Documents",
           .world = 4,
           .expert = 2,
           .micro_size = 1,
           .documents = true},
    Layout{"SixteenRanks", 16, 0, 0},
    Layout{.name = "SixteenRanksFewSequences",
           .world = 16,
           .expert = 0,
           .micro_size = 0,
           .global_size = 5}};

// tensor x expert, the rest is data.
inline const Layout kTensorLayouts[] = {
    Layout{.name = "Tensor2", .world = 2, .expert = 1, .tensor = 2},
    Layout{.name = "Tensor2Micro1",
           .world = 2,
           .expert = 2,
           .micro_size = 1,
           .tensor = 2},
    Layout{.name = "Tensor2Expert4", .world = 4, .expert = 4, .tensor = 2},
    Layout{.name = "Tensor2Expert4Micro2",
           .world = 4,
           .expert = 4,
           .micro_size = 2,
           .tensor = 2},
    Layout{.name = "Tensor4Expert2", .world = 8, .expert = 2, .tensor = 4},
    Layout{.name = "Tensor2Expert3",
           .world = 6,
           .expert = 3,
           .experts = 12,
           .tensor = 2},
    Layout{
        .name = "SixteenRanksTensor4", .world = 16, .expert = 0, .tensor = 4},
    Layout{.name = "SixteenRanksTensor4FewSequences",
           .world = 16,
           .expert = 8,
           .global_size = 3,
           .tensor = 4},
    Layout{.name = "Tensor2MicroBatchScope",
           .world = 4,
           .expert = 2,
           .scope = kMicroBatch,
           .tensor = 2},
    Layout{.name = "Tensor2Expert4Capacity",
           .world = 4,
           .expert = 4,
           .micro_size = 2,
           .tensor = 2,
           .capacity_factor = 0.9},
    Layout{.name = "Tensor4Expert2CapacityByPosition",
           .world = 8,
           .expert = 2,
           .tensor = 4,
           .capacity_factor = 0.9,
           .drop_policy = RouterConfig::POSITION},
    Layout{.name = "Tensor2Expert4Documents",
           .world = 4,
           .expert = 4,
           .micro_size = 2,
           .tensor = 2,
           .documents = true},
    Layout{.name = "Tensor2Expert4BFloat16",
           .world = 4,
           .expert = 4,
           .dtype = RunConfig::BFLOAT16,
           .tensor = 2},
    Layout{.name = "Tensor4Expert2BFloat16",
           .world = 8,
           .expert = 2,
           .dtype = RunConfig::BFLOAT16,
           .tensor = 4}};

}  // namespace moe

#endif  // TESTS_TRAINER_LAYOUT_CASES_H_
