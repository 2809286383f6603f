#ifndef TESTS_MOE_NETWORK_CASES_H_
#define TESTS_MOE_NETWORK_CASES_H_

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "moe/model_config.pb.h"
#include "tests/golden_file.h"
#include "tests/moe/reference_model.h"

namespace moe {

// One combination of the settings that change what is computed.
struct NetworkCase {
  RouterConfig::AuxLossSemantics semantics = RouterConfig::SWITCH;
  RouterConfig::AuxLossScope scope = RouterConfig::SEQUENCE;
  int top_k = 2;
  bool renormalize = true;
  bool z_loss = false;
  bool tied = false;
  double capacity_factor = 0;
  RouterConfig::DropPolicy drop_policy = RouterConfig::PROBABILITY;
};

// A capacity at which the small network drops choices.
inline constexpr double kTightCapacity = 0.5;

// All combinations that ValidateRouter lets pass.
std::vector<NetworkCase> AllNetworkCases();

// "SwitchSequenceTop2RenormalizedZLossTied", a name for GoogleTest.
std::string NameOf(const NetworkCase& c);
// The same, as GoogleTest prints a parameter.
void PrintTo(const NetworkCase& c, std::ostream* out);

// The published one's.
ModelConfig Mixtral8x7B();

// A small network of odd sizes, none of two equal, with strong losses.
ModelConfig SmallModel(const NetworkCase& c);
RouterConfig SmallRouter(const NetworkCase& c);

// Every tensor of a model, random, as float32 holds it: norms near 1, all else
// normal with deviation 0.3.
reference::Tensors RandomWeights(const ModelConfig& model, uint32_t seed);

// Random sequences of random tokens.
reference::Tokens RandomTokens(const ModelConfig& model, size_t sequences,
                               size_t length, uint32_t seed);

// Cuts the tokens into documents of these lengths, over and over; a sequence's
// end may fall into a document.
void CutIntoDocuments(reference::Tokens& tokens,
                      const std::vector<size_t>& lengths);

// The one micro-step of a golden file's gradients.
reference::Tokens GoldenTokens(const GoldenFile& golden);

// The least distance, over all layers and tokens, of the last chosen expert's
// probability to the best unchosen one's, and of a dropped choice's to that of
// a kept one: rounding may not bridge it.
double RoutingMargin(const reference::Result& result);

// Choices dropped in all layers.
int NumDropped(const reference::Result& result);

}  // namespace moe

#endif  // TESTS_MOE_NETWORK_CASES_H_
