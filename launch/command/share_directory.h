#ifndef LAUNCH_COMMAND_SHARE_DIRECTORY_H_
#define LAUNCH_COMMAND_SHARE_DIRECTORY_H_

#include <string>

namespace moe {

// Where files that come with the programs lie: share/moe beside the directory
// of this executable, in a build and in an installation alike.
std::string ShareDirectory();

}  // namespace moe

#endif  // LAUNCH_COMMAND_SHARE_DIRECTORY_H_
